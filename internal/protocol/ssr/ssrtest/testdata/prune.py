#!/usr/bin/env python3
"""Makes vectors.json.gz of ssr-vectors.json: see README.md."""
import gzip, hashlib, json, sys

def digest(text):
    b = bytes.fromhex(text)
    return {"len": len(b), "sha256": hashlib.sha256(b).hexdigest()[:32]}

d = json.load(open(sys.argv[1]))
del d["_doc"]
for s in d["tcp_sessions"] + d["tcp_sessions_aead"]:
    for step in s["steps"]:
        step.pop("proto", None)
        step["plain"] = digest(step["plain"])
for s in d["udp"]:
    for p in s["packets"]:
        for way in ("c2s", "s2c"):
            p.pop(way + "_proto", None)
            p[way + "_plain"] = digest(p[way + "_plain"])
for s in d["obfs"]:
    for step in s["steps"]:
        step.pop("decoded", None)
for c in d["captures"]:
    # what the decoded stream is: the address header, then what the application sent
    host, port = c["dest"].split(":")
    head = "01" + "".join("%02x" % int(x) for x in host.split(".")) + "%04x" % int(port)
    c["c2s"] = digest(head + c.pop("app_c2s"))
    c["s2c"] = digest(c.pop("app_s2c"))
    c.pop("udp_app_s2c", None)
out = json.dumps(d, separators=(",", ":"), sort_keys=True).encode()
with open("vectors.json.gz", "wb") as f:
    f.write(gzip.compress(out, 9, mtime=0))
