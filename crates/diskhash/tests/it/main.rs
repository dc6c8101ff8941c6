//! Tables against a model, crashes, faults and damage.

#[cfg(test)]
mod allocated;
#[cfg(test)]
mod bed;
#[cfg(test)]
mod basics;
#[cfg(test)]
mod model;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod files;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod sizes;
#[cfg(test)]
mod store;
#[cfg(test)]
mod threads;
