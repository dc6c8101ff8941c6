//! Tables against a model, against damage, against forgers.

mod allocated;
mod tables;
mod model;
mod damage;
mod hostile;
mod limits;
mod merge;
mod crash;
