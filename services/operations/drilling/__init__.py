"""An operator's proof before going live: faults on a scratch city, and every promise checked.

Begin reading at ``running``; ``catalogue`` lists the scenarios, ``judging`` says what each must
leave behind.
"""
