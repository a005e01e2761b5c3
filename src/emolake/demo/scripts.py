"""What is said in the demo's made-up calls: an agent's lines, and a customer's by mood."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prosody:
    """How a mood sounds: the settings that `speech.synthesise` takes."""

    rate_wpm: int
    """Speed in words a minute."""
    pitch: int
    """Height of the voice, 50 as usual."""
    pitch_range: int
    """Liveliness of the voice, 50 as usual, 0 for monotone."""
    volume: int
    """Loudness, 100 as usual."""
    softness_db: float = 0.0
    """By how much the voice is not raised, in decibels an octave; 0 for shouting."""


PROSODY: dict[str, Prosody] = {
    "anger": Prosody(rate_wpm=225, pitch=62, pitch_range=95, volume=185),
    "happiness": Prosody(rate_wpm=190, pitch=80, pitch_range=99, volume=125, softness_db=3.0),
    "neutral": Prosody(rate_wpm=150, pitch=38, pitch_range=28, volume=100, softness_db=6.0),
    "sadness": Prosody(rate_wpm=105, pitch=28, pitch_range=8, volume=55, softness_db=6.0),
}

AGENT = "agent"

# Japanese is written in kana: eSpeak NG cannot read kanji.
_ENGLISH: dict[str, tuple[str, ...]] = {
    AGENT: (
        "Good morning, thank you for calling. How can I help you?",
        "I see. Could you give me your customer number, please?",
        "One moment, I am looking at your account.",
        "I have made a note of that. Is there anything else?",
        "Thank you for your patience. Goodbye.",
    ),
    "anger": (
        "This is the third time I am calling! Nobody ever calls me back!",
        "No! I want to speak to your manager, right now!",
        "You charged me twice and you do not even apologise!",
    ),
    "happiness": (
        "It works! Oh, that is wonderful, thank you so much!",
        "That was quick! You have really made my day!",
        "Yes, the parcel is here already, we are so pleased!",
    ),
    "neutral": (
        "I would like to know when the technician is coming.",
        "My number is four seven one, nine zero two.",
        "Yes, the afternoon would be fine for me.",
    ),
    "sadness": (
        "I have to cancel the contract. My mother passed away last week.",
        "I do not know what to do any more. Nothing has helped.",
        "It does not matter now. I had hoped it would arrive in time.",
    ),
}

SCRIPTS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": _ENGLISH,
    "en-us": _ENGLISH,
    "de": {
        AGENT: (
            "Guten Tag, vielen Dank für Ihren Anruf. Was kann ich für Sie tun?",
            "Ich verstehe. Sagen Sie mir bitte Ihre Kundennummer?",
            "Einen Augenblick, ich schaue in Ihren Vertrag.",
            "Das habe ich notiert. Kann ich sonst noch etwas für Sie tun?",
            "Danke für Ihre Geduld. Auf Wiederhören.",
        ),
        "anger": (
            "Das ist jetzt schon das dritte Mal, dass ich anrufe! Das ist eine Frechheit!",
            "Nein! Ich will sofort Ihren Vorgesetzten sprechen!",
            "Sie haben zweimal abgebucht, und keiner entschuldigt sich!",
        ),
        "happiness": (
            "Es funktioniert! Das ist ja wunderbar, vielen herzlichen Dank!",
            "Das ging aber schnell! Sie haben mir den Tag gerettet!",
            "Ja, das Paket ist schon da, wir freuen uns sehr!",
        ),
        "neutral": (
            "Ich möchte gerne wissen, wann der Techniker kommt.",
            "Meine Nummer ist vier sieben eins, neun null zwei.",
            "Ja, am Nachmittag würde es mir passen.",
        ),
        "sadness": (
            "Ich muss den Vertrag kündigen. Meine Mutter ist letzte Woche gestorben.",
            "Ich weiß nicht mehr weiter. Es hat alles nichts geholfen.",
            "Es ist jetzt auch egal. Ich hatte gehofft, es kommt noch rechtzeitig.",
        ),
    },
    "fr": {
        AGENT: (
            "Bonjour, merci de votre appel. Que puis-je faire pour vous ?",
            "Je comprends. Quel est votre numéro de client, s'il vous plaît ?",
            "Un instant, je regarde votre dossier.",
            "C'est noté. Merci de votre patience, au revoir.",
        ),
        "anger": (
            "C'est la troisième fois que j'appelle ! C'est inadmissible !",
            "Non ! Je veux parler à votre responsable, tout de suite !",
        ),
        "happiness": (
            "Ça marche ! Oh, c'est formidable, merci infiniment !",
            "Quelle rapidité ! Vous avez sauvé ma journée !",
        ),
        "neutral": (
            "Je voudrais savoir quand le technicien doit passer.",
            "Oui, l'après-midi me conviendrait très bien.",
        ),
        "sadness": (
            "Je dois résilier le contrat. Ma mère est décédée la semaine dernière.",
            "Je ne sais plus quoi faire. Rien n'a marché.",
        ),
    },
    "it": {
        AGENT: (
            "Buongiorno, grazie per aver chiamato. Come posso aiutarla?",
            "Capisco. Mi può dire il suo codice cliente, per favore?",
            "Un momento, guardo il suo contratto.",
            "Ho preso nota. Grazie per la pazienza, arrivederci.",
        ),
        "anger": (
            "È la terza volta che chiamo! È una vergogna!",
            "No! Voglio parlare subito con il suo superiore!",
        ),
        "happiness": (
            "Funziona! Ma che meraviglia, grazie mille!",
            "Che velocità! Mi ha salvato la giornata!",
        ),
        "neutral": (
            "Vorrei sapere quando arriva il tecnico.",
            "Sì, nel pomeriggio andrebbe bene.",
        ),
        "sadness": (
            "Devo disdire il contratto. Mia madre è mancata la settimana scorsa.",
            "Non so più che cosa fare. Non è servito a niente.",
        ),
    },
    "es": {
        AGENT: (
            "Buenos días, gracias por llamar. ¿En qué puedo ayudarle?",
            "Entiendo. ¿Me dice su número de cliente, por favor?",
            "Un momento, estoy mirando su contrato.",
            "Lo he apuntado. Gracias por su paciencia, adiós.",
        ),
        "anger": (
            "¡Es la tercera vez que llamo! ¡Esto es una vergüenza!",
            "¡No! ¡Quiero hablar con su jefe ahora mismo!",
        ),
        "happiness": (
            "¡Funciona! ¡Qué maravilla, muchísimas gracias!",
            "¡Qué rápido! ¡Me ha alegrado el día!",
        ),
        "neutral": (
            "Quisiera saber cuándo viene el técnico.",
            "Sí, por la tarde me viene bien.",
        ),
        "sadness": (
            "Tengo que cancelar el contrato. Mi madre murió la semana pasada.",
            "Ya no sé qué hacer. Nada ha servido.",
        ),
    },
    "pt": {
        AGENT: (
            "Bom dia, obrigado por ligar. Em que posso ajudar?",
            "Compreendo. Pode dizer-me o seu número de cliente, por favor?",
            "Um momento, estou a ver o seu contrato.",
            "Já tomei nota. Obrigado pela paciência, bom dia.",
        ),
        "anger": (
            "É a terceira vez que ligo! Isto é uma vergonha!",
            "Não! Quero falar com o seu chefe, imediatamente!",
        ),
        "happiness": (
            "Já funciona! Que maravilha, muito obrigada!",
            "Que rapidez! Salvou o meu dia!",
        ),
        "neutral": (
            "Queria saber quando vem o técnico.",
            "Sim, à tarde é possível.",
        ),
        "sadness": (
            "Tenho de cancelar o contrato. A minha mãe morreu na semana passada.",
            "Já não sei o que fazer. Nada ajudou.",
        ),
    },
    "ja": {
        AGENT: (
            "おでんわ ありがとうございます。どのような ごようけんでしょうか。",
            "かしこまりました。おきゃくさま ばんごうを おねがいいたします。",
            "しょうしょう おまちください。",
            "ありがとうございました。しつれいいたします。",
        ),
        "anger": (
            "もう さんかいめの でんわですよ！いいかげんにしてください！",
            "だめです！いますぐ せきにんしゃを だしてください！",
        ),
        "happiness": (
            "うごきました！すばらしい、ほんとうに ありがとうございます！",
            "はやいですね！とても うれしいです！",
        ),
        "neutral": (
            "しゅうりの かたは いつ きますか。",
            "はい、ごごで だいじょうぶです。",
        ),
        "sadness": (
            "かいやくしたいのですが。ははが せんしゅう なくなりました。",
            "もう どうしたらいいか わかりません。",
        ),
    },
    "ko": {
        AGENT: (
            "전화 주셔서 감사합니다. 무엇을 도와드릴까요?",
            "네, 고객 번호를 말씀해 주시겠어요?",
            "잠시만 기다려 주십시오.",
            "감사합니다. 좋은 하루 되세요.",
        ),
        "anger": (
            "벌써 세 번째 전화예요! 정말 너무하시네요!",
            "안 돼요! 지금 당장 책임자를 바꿔 주세요!",
        ),
        "happiness": (
            "이제 됩니다! 정말 고맙습니다!",
            "벌써 도착했어요! 너무 기뻐요!",
        ),
        "neutral": (
            "기사님이 언제 오시는지 알고 싶습니다.",
            "네, 오후가 좋겠습니다.",
        ),
        "sadness": (
            "계약을 해지해야 합니다. 어머니께서 지난주에 돌아가셨어요.",
            "이제 어떻게 해야 할지 모르겠어요.",
        ),
    },
}
