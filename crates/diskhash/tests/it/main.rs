//! The table against a model, crashes, faults and damage.

#[cfg(test)]
mod bed;
#[cfg(test)]
mod basics;
#[cfg(test)]
mod model;
