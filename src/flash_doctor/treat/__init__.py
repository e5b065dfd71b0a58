"""The treatments: fix, rollback, bundle, verify. The only room that composes the stages."""
