"""Ways to ask the same in other languages: the few that change no other word."""

from __future__ import annotations

import re

_REWRITTEN = (
    (r"\b(bitte|por favor|per favore|alstublieft|пожалуйста)\b|\bs'il (vous|te) plaît\b", " "),
    (r"\bcomment (puis-je|faire pour|peut-on|je peux|est-ce que je peux|dois-je)\b", "comment"),
    (r"\bcomo (posso|faço para|eu posso|se pode|devo)\b", "como"),
    (r"\bcómo (puedo|hago para|se puede|podemos|debo)\b", "cómo"),
    (r"\bcome (posso|faccio a|si può|possiamo|devo)\b", "come"),
    (r"\bwie (kann|können|muss|soll) (ich|wir|man)\b", "wie kann ich"),
    (r"\bhoe (kan|kunnen|moet) (ik|we|wij|je)\b", "hoe kan ik"),
    (r"\bкак (мне|можно|я могу)\b", "как"),
    (r"怎样才能|怎样|怎么样|怎么|如何才能|如何", "如何"),
    (r"^请问", ""),
)

FOREIGN = tuple((re.compile(pattern), instead) for pattern, instead in _REWRITTEN)
"""Applied in this order to a question in small letters."""
