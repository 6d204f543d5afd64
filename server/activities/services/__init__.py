"""The use cases of activities: planning, visits at schools, and what is filled in on them."""
