//! The committed corpus, replayed.

mod corpus;

#[global_allocator]
static COUNTING: fuzz_bodies::limits::Counting = fuzz_bodies::limits::Counting;
