"""Ways to say the same in English, each rewritten to one of them."""

from __future__ import annotations

import re

from services.generator.caching.guards.asking import ASKED
from services.generator.caching.guards.tables import AUXILIARIES

_TELL_ME = (
    "(tell (me|us)|explain( to (me|us))?|describe|show (me|us)|give (me|us)|let (me|us) know|remind (me|us)( of)?|"
    "help (me|us) (to )?understand|specify|name|list( all)?)"
)
_YOU = "(can|could|would|will) (you|someone|somebody|anyone|anybody) (please |kindly |maybe |perhaps |quickly )?"
_GREETING = r"(hi|hello|hey|good (morning|afternoon|evening)|sorry|excuse me|(a |one )?(quick |short |simple )?question|just curious)"
_OPENING = (
    rf"{_GREETING}( there| all| everyone| team)?(?=[,:;.! -])|"
    rf"(please |kindly |just )*({_YOU})?{_TELL_ME}( please)?|"
    r"i('d| would) (like|love) to (know|learn|understand|ask)( about)?|(i|we) (want|need|wish) to (know|understand|find out)|"
    r"i( was|'m| am)? (just )?wonder(ing)?|i('m| am) (trying|looking) to (find out|understand)|i('m| am) curious( about)?|"
    r"(do|does|would) (you|anyone|anybody|someone|somebody) (happen to )?know( about)?|(can|may|could) i ask( you)?|"
    r"(do you have )?any idea|i have a (quick )?question|i('m| am) not sure"
)
_FRONTED = "(?:if|when|once|after|before|as soon as|with|without|in|on|at|during|for|under|since|while|until)"

_OPENED = (
    # Politeness: what is left is the question.
    (rf"^\W*(({_OPENING})[,:;.!… -]*)+(if|whether) ", "~ do "),
    (rf"^\W*(({_OPENING})[,:;.!… -]*)+", "~ "),
    (r",? please\b|^please,? |,? (many )?thanks?( you| in advance)?\b(?=\W*$)| or not(?=\W*$)", " "),
    (r"\b(is it (true|correct|right) that|is it the case that)\b", "do"),
    (r",? (right|correct|isn't it|do you know|if i may ask)(?=\?*$)", ""),
    # Contractions.
    (r"\bcan't\b|\bcannot\b", "can not"),
    (r"\bwon't\b", "will not"),
    (r"n't\b", " not"),
    (r"\b(what|who|where|when|how|why|that|there|it|he|she|which)'s\b", r"\1 is"),
    (r"^(what|whats|wheres|whos|hows|whens)s\b", r"\1 is"),
    (r"\b(i)'m\b", r"\1 am"),
    (r"'re\b", " are"),
    (r"'ve\b", " have"),
    (r"'ll\b", " will"),
    (r"'d\b", " would"),
    (r"\bno one\b|\bno-one\b", "nobody"),
    (r"\bgonna\b", "going to"),
    # What the question opens with may as well close it.
    (
        rf"^(~ )?({_FRONTED} [^,?]+), ((?:what|which|who|whom|whose|when|where|why|how|{'|'.join(sorted(AUXILIARIES))}) .+?)\W*$",
        r"\3 \2",
    ),
    (r"\bwanna\b", "want to"),
)

_SAID = (
    (r"\b(has|have) ((?:[\w'-]+ ){1,5}?)been (?=\w+ed\b|paid|sent|built|sold|given|told|made|shut)", r"was \2"),
    (r"\b(did|do|does|will|can) they\b", r"\1"),
    (r"\b(have|has) (i|we|you) got\b", r"do \2 have"),
    (
        r"\bchang(e|ed|es|ing) (?=([\w'-]+ ){0,4}(battery|batteries|bulb|bulbs|filter|filters|tyre|tyres|tire|tires|fuse|fuses)\b)",
        "replace ",
    ),
    (r"\b(get|gets|got|getting) (\w+ed|paid|sent|built|sold|given|told)\b", r"is \2"),
    (r"(?<=\bhow long )(.*?) (takes?|lasts?|took|lasted)\b", r"\1"),
    # Who acts, when it is whoever it always is.
    (rf"\b({'|'.join(sorted(AUXILIARIES))}) the (company|firm|system|application|software)(?= \w)", r"\1"),
    (r"\bby (the )(company|firm|system|application|software)\b(?=\W*$)", " "),
    (r"\b(currently|at present|at the moment|right now|presently|these days|nowadays)\b", " "),
    (
        r"\b(the|our|your|my) (current|present) (?!of|in|at|and|acc|asset|liab|rat|lim|dra|flow|sens|con|trans|thr|port|debt|that|is|for)",
        r"\1 ",
    ),
    # Two words for one.
    (r"\b(turn|switch)(ed|s|ing)? on\b", "enable"),
    (r"\b(turn|switch)(ed|s|ing)? off\b", "disable"),
    (r"\b(turn|switch)(ed|s|ing)? ((?:[\w'-]+ ){1,4})on\b", r"enable \3"),
    (r"\b(turn|switch)(ed|s|ing)? ((?:[\w'-]+ ){1,4})off\b", r"disable \3"),
    (r"\b(sets?|setting) ((?:[\w'-]+ ){1,4})up\b", r"configure \2"),
    (r"\b(set|sets|setting) up\b", "configure"),
    (r"\b(log|sign)(ged|s|ed)? ?-?in( to)?\b|\b(logg|sign)ing in(to| to)\b", "login"),
    (r"\b(log(ged|s|ging)? ?-?(out|off)|sign(ed|s|ing)? ?-?out)( of)?\b", "logout"),
    (r"\b(buy|buys|bought|buying) back\b", "repurchase"),
    (r"\bfiscal year\b|\bfinancial year\b", "fiscal"),
    (r"\b(file|lodge)[sd]? (a|an)\b", r"submit \2"),
    (r"\bmake (a|an) new\b", r"create \1 new"),
    (r"\b(operating|net) income\b", r"\1 profit"),
    (r"\bend of the year\b|\byear-end\b", "year end"),
    (r"\b(above|exceeding|in excess of|greater than|larger than|higher than|over)(?= [$€£]?\d)", "more than"),
    (r"\b(below|under|lower than|smaller than)(?= [$€£]?\d)", "less than"),
    (r"\binto\b", "to"),
    (r"\be-mails?\b", "email"),
    (r"\bwi-fi\b", "wifi"),
)

OPENINGS = tuple((re.compile(pattern), instead) for pattern, instead in _OPENED)
"""Politeness and contractions. Applied in this order to a question in small letters."""
PHRASES = tuple((re.compile(pattern), instead) for pattern, instead in (*ASKED, *_SAID))
"""Applied in this order to what those leave."""
