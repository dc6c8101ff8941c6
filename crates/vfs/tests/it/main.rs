//! Both file systems under one suite, and the simulated one under the laws of crashes and faults.

mod bed;

mod conformance;
mod crash;
mod damage;
mod fault;
mod fields;
mod trace;
