"""`python -m tests.faults`: real processes are killed while phones send; then everything is counted.

plan.py       what is to go wrong, in which order: all of it follows from one seed
processes.py  programs that can be killed at any moment and started again as they were
proxy.py      a line to the store that can be slow, broken or cut
disk.py       a small disk that can be filled
world.py      PostgreSQL, Redis, the store and the product, and what can happen to them
prepare.py    a county, a form, visits, devices
documents.py  what is filled in and photographed: all of it follows from a submission's id
line.py       one HTTP request, and the mishaps of a weak network
phones.py     ODK Collect and the JSON phone, which send until they are told that it is stored
people.py     schools that rectify, offices that sync
ledger.py     what was sent, what was answered, what was seen
verify.py     compares the ledger with the database and the store
run.py        one run from start to verdict

docs/promises.md says what is promised and what a run showed.
"""
