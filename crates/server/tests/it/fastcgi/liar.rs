//! A program that does not do what it should.
