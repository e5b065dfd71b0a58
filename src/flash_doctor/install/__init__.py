"""Changing an environment so that nothing is lost: plan, fetch, stage, judge, swap, prove, keep or restore."""
