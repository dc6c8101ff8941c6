//! The table against a model, crashes, faults and damage.

#[cfg(test)]
mod basics;
