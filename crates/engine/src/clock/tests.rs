use super::*;

#[test]
fn time_never_goes_back() {
    let clock = Clock::starting_at(50);
    assert_eq!([40, 60, 55].map(|wall| clock.tell(wall)), [50, 60, 60]);
    assert_eq!(clock.told(), 60);
}

#[test]
fn only_an_answer_that_rests_on_an_unwritten_time_makes_it_due() {
    let clock = Clock::starting_at(50);
    clock.tell(90);
    assert_eq!(clock.due(), None, "nobody met anything");
    clock.met(50);
    assert_eq!(clock.due(), None, "the time that was written says so too");
    clock.met(70);
    assert_eq!(clock.due(), Some(90));
    clock.wrote(90);
    assert_eq!(clock.due(), None);
    clock.met(80);
    assert_eq!(clock.due(), None);
}
