"""Small documents of our own. A library that does much on its first use has done it once one of them is read."""

from __future__ import annotations

from collections.abc import Mapping

_PDF = """\
%PDF-1.4
1 0 obj
<< /Type /Catalog /Pages 2 0 R >>
endobj
2 0 obj
<< /Type /Pages /Kids [4 0 R] /Count 1 >>
endobj
3 0 obj
<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>
endobj
4 0 obj
<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 5 0 R /Resources << /Font << /F1 3 0 R >> >> >>
endobj
5 0 obj
<< /Length 129 /Filter [/ASCIIHexDecode /FlateDecode] >>
stream
789c730a51d077335430345208495330355030373050084951d0484cd25408c9523050d035340109446b246b2a18192868a468c62a847829b88600007a2a0d14>
endstream
endobj
6 0 obj
<< /Title (t) /CreationDate (D:20000101000000+00'00') >>
endobj
xref
0 7
0000000000 65535 f\x20
0000000009 00000 n\x20
0000000058 00000 n\x20
0000000115 00000 n\x20
0000000212 00000 n\x20
0000000334 00000 n\x20
0000000553 00000 n\x20
trailer
<< /Size 7 /Root 1 0 R /Info 6 0 R >>
startxref
625
%%EOF
"""
_HTML = "<html><head><title>t</title></head><body><article><h1>a</h1><p>b c</p></article></body></html>"

SAMPLES: Mapping[str, bytes] = {"html": _HTML.encode(), "pdf": _PDF.encode()}
"""By the reader's module."""
