//! Guests for the end-to-end tests: each is an example of its own, built as a component.
