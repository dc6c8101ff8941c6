//! Tables against a model, against damage, against forgers.

#[cfg(test)]
mod allocated;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod model;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod merge;
#[cfg(test)]
mod crash;
