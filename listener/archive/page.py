"""The page that lies on top of an export: how to open the clips, with tools that are not ours."""

from typing import Final

READ_ME: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Your clips</title>
<style>body{font:16px/1.5 sans-serif;max-width:44em;margin:2em auto;padding:0 1em}
pre{background:#eee;padding:.7em;overflow:auto}</style>
<h1>Your clips</h1>
<p>This folder holds what your household's archive keeps for you. Each file in <code>clips</code> is
one recording, sealed on the speaker to your key. Nobody else can open it: not the archive, not the
person who gave you this, and not whoever finds it.</p>
<h2>Opening them</h2>
<p>With Earmark: <code>earmark clips export --open</code> does all of this for you.</p>
<p>Without it, on Linux or a Mac, with <a href="https://age-encryption.org">age</a> and your key
file (here <code>me.key</code>):</p>
<pre>for f in clips/*.earmark; do
  tail -n +5 "$f" | age -d -i me.key &gt; "${f%.earmark}.flac"
done</pre>
<p>The FLAC files play in any player; <code>metaflac --show-tag=COMMENT FILE.flac</code> shows the
wake word, the score and the time.</p>
<h2>Checking them</h2>
<p><code>manifest.jsonl</code> lists every clip with its SHA-256, <code>devices.json</code> the
public keys of the speakers that signed them, <code>access-log.jsonl</code> who asked for your
clips and when; <code>receipt.json</code> is signed by the archive.
<code>earmark clips verify FILE.zip</code> checks all of it.</p>
<h2>If your key is lost</h2>
<p>Then these clips are lost too. Nobody has a second one.</p>
</html>
"""
