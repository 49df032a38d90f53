"""The page READ-ME-FIRST.html of an export, for the archive, which writes it, and the client.

The client refuses an export with any other page: a person opens this page with their key at hand.
"""

from typing import Final

from listener import digests

PAGE_NAME: Final = "READ-ME-FIRST.html"

EXPORT_PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="content-security-policy" content="default-src 'none'; base-uri 'none';
 form-action 'none'; style-src 'sha256-4OifdfPTOQF8e0p5l0dE80zIPNZJEMQkIlQsN/PXiV4='">
<title>Your clips</title>
<style>body{font:16px/1.5 sans-serif;max-width:44em;margin:2em auto;padding:0 1em}
pre{background:#eee;padding:.7em;overflow:auto}</style>
<h1>Your clips</h1>
<p>This folder contains the clips that your household's archive stores for you. Each file in
<code>clips</code> is one recording, encrypted to your key on the speaker that made it. Only your
key decrypts it. The archive cannot decrypt it.</p>
<p>Never give your key file to a web page or a person. No page of Earmark asks for it.</p>
<h2>Open the clips</h2>
<p>With Earmark, <code>earmark clips export --open</code> downloads and decrypts all clips.</p>
<p>Without Earmark, on Linux or macOS, use <a href="https://age-encryption.org">age</a> and your key
file (here <code>me.key</code>):</p>
<pre>mkdir opened &amp;&amp;
for f in clips/*.earmark; do
  tail -n +5 "$f" | age -d -i me.key -o "opened/$(basename "$f" .earmark).flac"
done</pre>
<p>Any player plays the FLAC files. <code>metaflac --show-tag=COMMENT FILE.flac</code> prints the
wake word, the score and the time.</p>
<h2>Verify the export</h2>
<p><code>manifest.jsonl</code> lists every clip with its SHA-256. <code>devices.json</code> contains
the public keys of the speakers that signed the clips. <code>access-log.jsonl</code> lists the
requests for your clips and their times. <code>receipt.json</code> is signed by the archive, with
the SHA-256 of every other file.
<code>earmark clips verify FILE.zip</code> checks all of these files.</p>
<h2>If you lose your key</h2>
<p>These clips then cannot be decrypted. There is no second key.</p>
</html>
"""
"""The page as this version writes it."""

KNOWN_PAGES: Final = frozenset(
    {
        "e8ef6d4f00099a799cf5a13359eddcac3d2a5651c3534ed3a9dd45e32449d663",
        "8c708ad6f87aa4b9c95cc868de00252c9415234ab647fbe604abfb06f9c6ffb8",
        "8e4403ab58c2018bf33f2a5dcbd4c9c74eaad7d9eeb71f3b642d119d0c658bcc",
        "8a3f68eb6a88333f3af544ca5cf10795548a5fe97c8c2fafa693611453da9f63",
    }
)
"""SHA-256 of the page of each version, the newest last. A change of the page adds its hash here,
and to ``docs/reference/http-api.md``; none is removed, since exports are kept for years.
"""


def is_known_page(page: bytes) -> bool:
    """Return whether a version of Earmark wrote this page."""
    return digests.sha256(page).hex() in KNOWN_PAGES
