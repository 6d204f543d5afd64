"""`python -m tests.benchmarks`: how fast the product is, beside a reference of the same run.

form.py         what is sent: a form of twenty questions, filled in, and a photo
prepare.py      the county, the published form, visits, devices
bare.py         the reference: the same server without parsing and checks
processes.py    the product's processes, the reference, their memory
traffic.py      what a phone sends for one submission
load.py         many phones at once, from a process of their own
renditions.py   the small pictures of a photo, beside Pillow alone
verify.py       that every answered submission is stored, byte for byte
report.py       the table and the JSON file

docs/benchmarks.md tells how to read the figures.
"""
