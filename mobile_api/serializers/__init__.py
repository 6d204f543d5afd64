"""What goes in and what comes out, by topic. Fields that an In does not know are ignored."""
