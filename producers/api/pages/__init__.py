"""The pages: Kith for people, in a browser. Rendered here, with a little JavaScript beside it; no build step.

Whoever signs in shows an API key once and has its scopes and galleries from then on; what is done at the pages stands
in the audit log as done by that key. The pages ask what /v1 asks: where there is a function of the API for it, that
one. They work without JavaScript as far as a browser can (no live news, no webcam).
"""
