"""OpenRosa 1.0: how ODK Collect, KoboCollect and Enketo fetch forms and send what was filled in."""
