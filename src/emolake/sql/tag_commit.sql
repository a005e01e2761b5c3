-- Tags the snapshot that the running transaction will make.
CALL lake.set_commit_message($author, $message, extra_info => $extra)
