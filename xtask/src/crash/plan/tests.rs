use super::*;

#[test]
fn a_replay_line_reads_back_as_it_was_written() {
    let mut cell = Cell::run(Config::all()[1], &[Op::Put, Op::Reopen], 17);
    assert_eq!(cell.to_string().parse::<Cell>().expect("its own text"), cell);
    cell.lie = Some("no-dir-sync".to_owned());
    cell.crash = Some(Place { boundary: 31, image: 4 });
    cell.nested = vec![Place { boundary: 2, image: 0 }, Place { boundary: 7, image: 8 }];
    assert_eq!(cell.to_string().parse::<Cell>().expect("its own text"), cell);
    assert!("config=mapped/mapped/never/lazy/hash nested=1:2".parse::<Cell>().is_err());
    assert!("ops=put".parse::<Cell>().is_err());
    assert!("config=mapped/mapped/never/lazy/hash ops=pot".parse::<Cell>().is_err());
}

#[test]
fn configurations_cover_both_append_modes_both_read_modes_and_three_kinds_of_acks_and_index() {
    let all = Config::all();
    for append in [Append::Mapped, Append::Positional] {
        for read in [Read::Mapped, Read::Positional] {
            let mut here = all.iter().filter(|c| c.append == append && c.read == read);
            assert!(here.clone().any(|c| c.acks == Acks::Never));
            assert!(here.any(Config::acks_are_durable));
        }
    }
}
