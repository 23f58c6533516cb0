"""The commonest words of each language: they tell the language, and say nothing about what a question is after.

Short lists, made for voting: a word that several languages share counts for each of them by its share.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

DEFAULT = "en"
"""What a text in Latin letters is taken for when its words do not tell."""

_WORDS = {
    "en": """a about after all also am an and any are as at be because been before being between both but by can could did
        do does for from get had has have he her here him his how i if in into is it its just like make many may me more
        most much must my need no not now of on one only or other our out over please same she should show since so some
        such tell than that the their them then there these they this those through to up us very was we were what when
        where whether which while who whom whose why will with would you your""",
    "de": """ab aber alle allem allen aller alles als also am an auch auf aus bei beim bin bis da damit dann das dass dem
        den denn der des deren dessen die dies diese diesem diesen dieser dieses doch du durch ein eine einem einen einer
        eines er es etwas für gegen gibt haben hat hatte ich ihm ihn ihr ihre im in ist ja jede jedem jeden jeder jedes
        kann kein keine keinen können lange man mehr mein mich mit muss müssen nach nicht noch nur ob oder ohne sehr seit
        sein seine sich sie sind so soll sollte über um und uns unser unter viel viele vom von vor wann warum was
        welche welchem welchen welcher welches wenn wer werden wie wieder wird wir wo wofür woher womit wurde wurden zu
        zum zur zwischen während""",
    "fr": """ai alors après au aucun aussi autre aux avec avoir avant ce cela celui ces cet cette chez comme comment dans de
        depuis des deux dont du elle elles en entre est et eux fait faire faut ici il ils je la le les leur leurs lors
        lui mais même mes moi moins mon ne nos notre nous on ont ou où par pas peut peuvent plus pour pourquoi quand que
        quel quelle quelles quels qui quoi sa sans se selon ses si son sont sous sur ta tous tout toute toutes très tu un
        une vers vos votre vous y à été être c' d' j' l' n' qu' s'""",
    "es": """a al algo antes aunque cada como con contra cuál cuándo cuánto cuántos cómo de del desde donde dónde durante e
        el ella ellos en entre era es esa ese eso esta este esto estos está están fue ha han hasta hay la las le les lo
        los me mi mientras muy más nada ni no nos o otra otro para pero por porque puede pueden que quién qué se según
        ser si sin sobre son su sus también tan tiene tienen todo todos tras tu un una unas uno unos y ya yo él""",
    "it": """a ad agli ai al alla alle anche avere c' che chi ci come con cosa così cui da dai dal dalla dalle degli dei del
        della delle dello di dopo dove e ed era essere fra gli ha hanno i il in io la le lei lo loro ma mentre mi molto
        ne nei nel nella nelle noi non o ogni per perché più poi può qual quale quali quando quanto questa queste questi
        questo qui quindi se senza si sia sono sopra stato su sua sue sul sulla suo suoi tra tutti tutto un una uno vi è d' l'""",
    "pt": """a ao aos as até com como da das de dela dele depois do dos e ela elas ele eles em entre era essa esse esta este
        está estão eu foi foram há isso isto já lhe mais mas me mesmo muito na nas nem no nos não o onde os ou para pela
        pelas pelo pelos pode podem por porque porquê qual quais quando quanto que quem se sem ser seu seus sobre sua
        suas são também te tem têm um uma umas uns você à às é""",
    "nl": """aan al alle als altijd andere ben bij daar dan dat de der deze die dit doen door dus een en er ge geen had heb
        hebben heeft het hij hoe hun ik in is ja je kan kun kunnen maar me meer men met mij mijn moet moeten na naar niet
        nog nu of om omdat onder ons ook op over per te tegen tijdens tot toch toen uit uw van veel voor waar waarom wanneer
        want waren was wat we wel welke werd wie wij worden wordt zal ze zich zij zijn zo zonder zou""",
    "sv": """alla allt att av bara blev bli blir de dem den denna deras dess det detta dig din du där efter ej eller en
        enligt ett finns från får för ha hade han har hon hur här i icke inte jag kan kommer man med mellan men mig min
        mot mycket måste ni nu när någon något några och om oss på samma sedan sig sin ska skulle som så till under upp
        ut utan vad var vara varför varit vem vi vid vilka vilken vilket är än åt över""",
    "da": """af alle alt at blev blive bliver da de dem den denne der deres det dette dig din dog du efter eller en end er
        et for fra få får før ham han hans har havde hun hvad hvem hver hvilke hvilken hvis hvor hvordan hvorfor hvornår
        i ikke ind jeg jer kan kun kunne man mange med meget mellem men mig min mod må når og også om op os over på
        samt sig sin skal skulle som så til ud uden under var ved vi vil ville være været""",
    "no": """alle at av ble bli blir bare både da de dem den denne der deres det dette dine du eller en enn er et etter for
        fordi fra få får før ha hadde han hans har henne hun hva hvem hver hvilke hvilken hvis hvor hvordan hvorfor i ikke
        inn ja jeg kan kun kunne man mange med meg mellom men mer min mot mye må nå når og også om opp oss over på samme
        seg selv skal skulle slik som så til ut uten var ved vi vil ville vår være vært""",
    "fi": """ei eikä ennen että he hän häntä ja jo joka jolla jonka jos jotka kaikki kanssa koska kuin kuinka kun
        kuten me mihin mikä miksi milloin minkä minä missä mistä mitkä mitä mukaan mutta myös ne niin niitä noin nyt
        olen oli olisi olla on ovat paljonko se sekä sen siitä sitä tai tämä tämän vai vain voi voidaan voiko ja älä""",
    "hu": """a az azt azért ahol aki ami amely amikor annak be csak de egy egyik ehhez el ez ezek ezt ezért fel ha hány hogy
        hogyan hol hová ha is igen itt kell ki kik le legyen lehet lesz majd meg mely melyik mennyi mert mi miatt mikor
        milyen mint mit már még míg most nagyon ne nem nincs olyan ott pedig s sem sok szerint után vagy van vannak volt
        és így úgy össze""",
    "ro": """a acest aceasta aceste acum ai al ale am are asupra atunci au avea ca care către ce cel cele cea cei chiar cine
        cu cum cât câte câți când da dacă dar de deci deși despre din dintre după e ea ei el este eu fi fie fiecare foarte
        fost fără iar ii la le li lor lui mai mult ne nici nu o ori pe pentru prin sa sau se sunt sub să și te toate
        trebuie tu un una unde unei unui în între își""",
    "tr": """acaba ama ancak bana bazı ben bir biri biz bu buna bunu çok çünkü da daha de defa diye değil en gibi göre hangi
        hem hep her hiç için ile ise kadar kaç kez ki kim mi mu mü mı nasıl ne neden nedir nerede niçin niye o olan olarak
        oldu olur olması onlar onu sonra ve veya ya yani şey şu vardır""",
    "pl": """aby ale albo bardzo bez być było był była był co czy czyli dla do gdy gdzie go i ich ile im jak jaka jaki jakie
        jako je jednak jego jej jest jeszcze jeśli już kiedy kto która które którego której który których lub ma mają
        między może można na nad nie niż o od oraz po pod podczas przed przez przy się są ta tak także tam te tego tej
        ten to tu tym tylko w we więc wszystkie z za ze że""",
    "cs": """aby ale ani ano až bez bude by byl byla bylo být co což či do i jak jaká jaké jaký je jeho jejich jen ještě
        jestli ji jsem jsme jsou již k kam kde kdo kdy když ke která které který kteří ma mezi mi mít může na nad ne nebo
        není než o od po pod podle pokud pouze pro proč proto protože před při s se si tak také to toho tom tomu tu u už
        v ve více však z za ze že""",
    "ru": """без бы был была были было быть в вам вас весь во вот все всех вы где да для до его ее ей если есть ещё еще же за
        и из или им их к как какая какие какой какое ко когда кого кто ли между меня мне может можно мы на над надо наш
        не него нее нет ни них но о об один он она они от очень по под после потому почему при про с сколько со так также
        там тем то того тоже только том ты у уже чего чем что чтобы эта эти это этого этот я""",
    "uk": """або але бо був була були було бути в ви від вона вони все всі га де для до до є з за зі й його її їх і із інші
        коли кого кожен ми між мене може можна на над не ні ну о об він один от після по під при про та так також там те
        ти тільки то того у хто це цей ця чи чим чому що щоб щодо як яка який яких якщо я""",
    "el": "αν από για δεν είναι ένα ένας η θα και κατά με μετά μια να ο οι όπως όταν ότι που πού πόσο πως πώς σε στη στην"
    " στο στον τα τη την της τι τις το τον του τους των ως",
    "ar": "أن إلى إن التي الذي أو بعد بين على عن عند في قبل كان كل كم كيف لا لم لماذا ما متى من هذا هذه هل هو هي و أين",
    "fa": "آن از است اگر این با باید برای به بود تا چرا چه چگونه چقدر خود در را شد شود کجا که می‌شود هر و کدام هم",
    "hi": "और एक क्या कब कहाँ का कि की के को कैसे कितना कितने क्यों जो तक तो थी थे था नहीं पर भी में यह ये वह से हैं है हो ने लिए",
}

_NOT_ONLY_THEIRS = """come comes dare die dies dog due end far fast fin for han hat hen her hot kan land led lot made male
    man me men mine mode net note o on par pas per plus pro red sale sang sin six so son sole sur ten tot true
    two van war was we wet wie"""
"""Words and parts of English that other lists claim: there they are half a vote, and they stay in a question."""

LETTERS = {
    "de": "äöüß", "fr": "àâçèêëîïôùûœé", "es": "ñ¿¡áéíóú", "it": "àèìòùé", "pt": "ãõçáéêâóà", "sv": "åäö", "da": "æøå",
    "no": "æøå", "fi": "äö", "hu": "őűáéíóöüú", "ro": "ăâîșțşţ", "tr": "ğışçöü", "pl": "ąćęłńśźżó", "cs": "áčďéěíňřšťůúýž",
    "uk": "іїєґ", "ru": "ыэъё", "fa": "پچژگک",
}  # fmt: skip
"""Letters that only some languages write."""


@cache
def stop_words(language: str) -> frozenset[str]:
    """Return the stop words of a language; none for one without a list."""
    return frozenset(_WORDS.get(language, "").split())


@cache
def votes() -> Mapping[str, tuple[tuple[str, float], ...]]:
    """Return for each listed word and letter the languages that have it, and what it counts for each of them."""
    holders: dict[str, list[str]] = {}
    for language, words in _WORDS.items():
        for word in dict.fromkeys(words.split()):
            holders.setdefault(word, []).append(language)
    for word in _NOT_ONLY_THEIRS.split():
        if word in holders and DEFAULT not in holders[word]:
            holders[word].append(DEFAULT)
    for language, letters in LETTERS.items():
        for letter in letters:
            if letter not in stop_words(language):
                holders.setdefault("letter " + letter, []).append(language)
    return {word: tuple((language, 1.0 / len(by)) for language in by) for word, by in holders.items()}
