"""Ways to ask the same in English, each rewritten to one of them."""

from __future__ import annotations

_WE = "(i|we|you|one|someone|somebody|people|anyone)"
_WAY = "(way|method|procedure|process|approach|steps?|instructions?|manner)"
_RIGHT = "(correct |right |proper |usual |normal |standard |best |exact |necessary |required )?"

ASKED = (
    # How it is done.
    (
        rf"^\W*{_WE} (want|need|would like|wish|have|am trying|are trying) to (.+?)[,.;:]? (and )?how (do|can|should|would) {_WE}( do (it|that|this|so))?\W*$",
        r"how do \3",
    ),
    (
        rf"^(.+?)(: ?|, | - | – )how( to| (do|can) {_WE})?( do (it|that|this))?( (is|does) (it|that|this) (done|work))?\W*$",
        r"how do \1",
    ),
    (rf"^(~ )?(the )?{_RIGHT}{_WAY} (to|for|of) ", "how do "),
    (rf"\b(what|which) (is|are|would be) (the|a) {_RIGHT}{_WAY} (to|for|of|by which)\b", "how do"),
    (
        rf"\b(what|which) {_WAY} (is|are|do|must|should|can)( {_WE})?( (need|have) to)?( (needed|required|necessary|involved|take|follow|use|used))? (to|for|in)\b",
        "how do",
    ),
    (rf"\bwhat (do|must|should|can) {_WE} ((need|have) to )?do (in order |so as )?to\b", "how do"),
    (r"\bin (what|which) (way|manner)\b", "how do"),
    (
        rf"\bhow (can|do|does|could|should|would|must|will|might|may) {_WE} (go about |manage to |proceed to )?(?!e\b)",
        "how do ",
    ),
    (r"\bhow (is|would) it (be )?possible to\b", "how do"),
    (r"\bhow to\b", "how do"),
    (r"\bhow do (know|tell|see|find out|recogni[sz]e|check|determine|verify) (if|whether|that)\b", "how do check"),
    (
        r"\bhow (do|does|is|are|was) (the )?(.+?) (process|procedure) (work|works|handled|done|look|go)\b( like)?",
        r"how does \3 work",
    ),
    (r"\bhow (do|does) (.+?) go about (\w+ing)\b", r"how \1 \2 \3"),
    (r"\bby (using|means of)\b|\b(using|with the help of|with the aid of)\b", "with"),
    (r"\b(in order|so as) to\b", "to"),
    # Of what can, and what must be.
    (
        rf"\b(is there|there is|do {_WE} (have|know)) (a|any|some) way (to|of|for {_WE} to)\b|\b(is|would) it (be )?(at all )?(possible|feasible) (for {_WE} )?to\b",
        "can",
    ),
    (
        rf"\b(is|are|would) it (be )?(ok|okay|fine|all right|alright|allowed|permitted|permissible|acceptable|legal to be) (for {_WE} )?(to|if {_WE})\b",
        "can",
    ),
    (r"\b(is|would) it (be )?(possible|allowed|permitted|ok|okay) (for|that) (.+?) (to )?\b", r"can \5 "),
    (
        rf"\b(do|does|have) {_WE} (have |got )?(the )?(permission|right|authori[sz]ation) to\b|\b(am|are|is) {_WE} free to\b",
        "can",
    ),
    (rf"\b(am|are|is) {_WE} (allowed|permitted|able|authori[sz]ed|entitled|eligible) to\b", "can"),
    (r"\b(is|are) ((?:(?!not )[\w'-]+ ){1,5}?)(allowed|permitted|able|authori[sz]ed)( to)?\b", r"can \2"),
    (r"\b(is|are|am) (allowed|permitted|able|authori[sz]ed) to\b", "can"),
    (rf"\b(is|was) it (mandatory|compulsory|obligatory|required|necessary|needed|a must)( for {_WE})? to\b", "must"),
    (rf"\b(am|are|is) {_WE} (required|obliged|obligated|supposed|expected) to\b", "must"),
    (r"\b(have|has|had|need|needs|ought|is required|are required|is obliged|are obliged|supposed|got)\b to\b", "must"),
    (rf"\bis there (any |a )?(need|obligation|requirement) (for {_WE} )?to\b", "must"),
    # How long, how many, how much.
    (
        r"\bhow long (is|was|are) ((?:the|our|my|your|a) [^?]*?\b(?:period|term|deadline|interval|limit)s?)\b",
        r"what \1 \2",
    ),
    (
        r"\bhow long (?:do|does|did|will) ((?:the|our|my|your|a) [^?]*?\b(?:period|term|interval|limit)s?) (?:last|take|run)\b",
        r"what is \1",
    ),
    (r"\bhow long (can|may) ([^?]+) be\b", r"what is the maximum length of \2"),
    (r"\bhow (large|big) (can|may) ([^?]+) be\b", r"what is the maximum size of \3"),
    (r"\bhow heavy (can|may) ([^?]+) be\b", r"what is the maximum weight of \2"),
    (r"\bfor how long\b|\bhow much time\b|\bfor what (period|length of time)\b", "how long"),
    (r"\bhow (frequently|regularly)\b|\bhow many times\b|\bat (what|which) (intervals?|frequency)\b", "how often"),
    (r"\bby how much\b|\bwhat (amount|quantity) of\b", "how much"),
    (
        r"(?:\bwhat (is|was|are)|~) the (maximum|max|minimum|min|total|average) (number|amount|quantity) of\b",
        r"how many \2",
    ),
    (r"(?:\bwhat (is|was)|~) the number of\b|\b(what|which) number of\b", r"how many \1"),
    (r"(?:\bwhat (is|was|are)|~) the (total )?(prices?|costs?) (of|for|to)\b([^?]*)", r"how much \1 \2 \5 cost"),
    (
        r"\bwhat (do|does|did|will|would|must|should) ([^?]*)\bcosts?\b(?=\W*$| (to|for|per|in|on|at|if) )",
        r"how much \1 \2 cost",
    ),
    (
        rf"\bhow (much|many) (do|does|did|will|must|should) {_WE} (have to |need to |must )?pay for\b([^?]*)",
        r"how much \2 \5 cost",
    ),
    (r"\bhow (expensive|costly) (is|are|was|were)\b([^?]*)", r"how much \2 \3 cost"),
    (r"\b(what|which) (percentage|proportion|fraction|share|percent) of\b|\bhow many percent of\b", "what percent of"),
    (r"\bwhat (is|was) the amount of\b", r"how much \1"),
    (r"\bwhat (is|was) the (length|duration) of\b", r"how long \1"),
    (r"\b(how far|how long|how much) (in advance|ahead|beforehand)\b", "how early"),
    (r"\bhow heavy (is|was|are)\b", r"what \1 the weight of"),
    (
        r"\bhow tall (is|was|are)\b|\bhow high (is|was) (?=the (building|tower|mountain|wall|fence))",
        r"what \1 the height of",
    ),
    (r"\bhow (large|big) (is|was|are)\b", r"what \2 the size of"),
    (r"\bhow fast (is|was)\b", r"what \1 the speed of"),
    (r"\bhow (wide|deep|hot|warm|strong) (is|was|are)\b", r"what \2 the \1 of"),
    (r"\bthe (width) of\b", "the wide of"),
    (r"\bthe (depth) of\b", "the deep of"),
    (r"\bhow old (is|was|are)\b", r"what \1 the age of"),
    (r"\bmeasured in what unit|what unit .* measured in\b", "what unit"),
    # When and where.
    (
        r"\b(when|where) (do|does|did|is|are|was|were|will) ([^?]+?) (happen|occur|take place|taking place|held)(?=\W*$| (in|at|on)\b)",
        r"\1 \2 \3",
    ),
    (r"\b(at what time|(on )?(what|which) (day|date)|what time|at what point|in (what|which) year)\b", "when"),
    (r"\bwhat (is|was|are) the (exact )?(dates?|time) (of|for|when)\b", r"when \1"),
    (r"\bwhat (is|are) the opening (hours?|times?) (of|for)\b([^?]*)", r"when is \4 open"),
    (r"\bby (when|what date)\b", "when"),
    (r"\b(until|since|till) when\b", r"when \1"),
    (r"\bin (what|which) (place|location)\b|\bat (what|which) (place|location)\b", "where"),
    (
        rf"\bwhere (can|do|could|would|should|must|might) {_WE} (find|look up|see|look for|look|locate|go to find|access)\b",
        "where is",
    ),
    (r"\bwhere (is|are) (.*) (to be found|can be found|found|located|situated)\b", r"where \1 \2"),
    (r"\bwhere (can|could) (.*) be (found|located)\b", r"where is \2"),
    (r"(\bwhat|~) (is |are )?the (location|whereabouts) of\b", "where is"),
    # Who.
    (
        rf"\b(who|whom) (do|can|could|should|must|would|shall) {_WE} (need to |have to |best )?(contact|ask|call|talk to|speak to|speak with|turn to|reach out to|approach|get in touch with|go to)( about| for| regarding| concerning| when| if| in case of| with)?\b",
        "who contact",
    ),
    (r"\bwho is the (contact|contact person|right person|person to (contact|ask))( for| about)?\b", "who contact"),
    (
        r"\bwhose (job|task|responsibility|duty|role) is it to\b|\bwhose (job|task|responsibility|duty|role) is\b",
        "who is responsible for",
    ),
    (
        r"\bwho (is|are) (the (person|one) )?(in charge of|responsible (for|to)|accountable for|tasked with)\b",
        "who is responsible for",
    ),
    (r"\bwho (has|bears|takes|carries) (the )?responsibility (for|of)\b", "who is responsible for"),
    (r"\bwho (takes care of|looks after|handles|deals with|is handling)\b", "who is responsible for"),
    (
        r"\b(which|what) (person|people|persons|individual)\b|\bwho is it that\b|\bwho is the (person|one) (who|that)\b",
        "who",
    ),
    (r"\bwho is the owner of\b", "who owns"),
    (r"\bwho is the (author|writer) of\b", "who wrote"),
    (r"\bwho is the (founder) of\b", "who founded"),
    (r"\bwho is the (inventor) of\b", "who invented"),
    (r"^by (?=who|which|what)", ""),
    # Why, what for, what if.
    (
        r"\bhow come\b|\bwhat (is|are|was|were) the (main )?(causes? (of|for|behind)|reasons?( for| that| why| of| behind)?)\b|\bfor (what|which) reason\b|\bwhat causes\b",
        "why is",
    ),
    (r"\b(why (?:is|are|do|does|did)) (.*) (happen|happening|occur|occurring|arise)\b", r"\1 \2"),
    (
        r"\bwhat is the difference between\b|\bwhat are the differences between\b|\bhow (is|are) (.+?) different from\b",
        r"how do differ \2",
    ),
    (r"\bhow (do|does) (.+?) differ( from)?\b", r"how do differ \2"),
    (
        r"\b(what is|what are) (meant|understood) by\b|\bwhat is the (meaning|definition) of\b|^(~ )?define\b",
        "what does mean",
    ),
    (r"\b(what|which) (is|are|does|do) (.+) (used for|for)(?=\W*$)", r"what \2 the purpose of \3"),
    (
        rf"\bwhat to do\b|\bwhat (do|can|should|must|shall|would|ought|am|are) {_WE} (need to |have to |to |supposed to |meant to )?do\b|\bhow (do|should|must) {_WE} (react|respond|proceed)\b|\bhow do (react|respond|proceed)\b",
        "what should do",
    ),
    (
        r"\bwhat should do (if|when|in case of|in case|in the event of|in the event that|once|after)\b",
        "what should do if",
    ),
    (r"\bwhat (will|would|is going to) happen\b", "what happens"),
    # When I should is when I do; not when I can.
    (
        rf"\b((?:what|which|when|where|who|whom|how)\b[^?,]*?) (should|shall|must|do|does) {_WE}( (must|should)(?= \w))?\b",
        r"\1 do",
    ),
)
"""Applied in this order to a question in small letters: what is matched, and what stands for it."""
