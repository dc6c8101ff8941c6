use super::*;

fn read(format: Format, text: &str) -> Result<Vec<(u64, String, String)>, String> {
    let utf8 = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the tests use UTF-8");
    let entries = entries(format, text.as_bytes()).map(|entry| {
        let Entry { line, key, value } = entry.map_err(|error| format!("{error:#}"))?;
        Ok((line, utf8(key), utf8(value)))
    });
    entries.collect()
}

fn entry(line: u64, key: &str, value: &str) -> (u64, String, String) {
    (line, key.to_owned(), value.to_owned())
}

#[test]
fn each_format_reads_its_entries_with_their_lines() {
    let expected = Ok(vec![entry(1, "a", "1"), entry(2, "b\tc", "x\ny"), entry(3, "d", "")]);
    assert_eq!(read(Format::Tsv, "a\t1\nb\\tc\tx\\ny\nd\t\n"), expected);
    let json = concat!(
        "{\"key\":\"a\",\"value\":\"1\"}\n",
        "{\"value\":\"x\\ny\",\"key\":\"b\\tc\"}\n",
        "{\"key\":\"d\",\"value\":\"\"}"
    );
    assert_eq!(read(Format::Jsonl, json), expected);
    let csv = read(Format::Csv, "a,1\n\"b\tc\",\"x\ny\"\nd,\"\"\"q\"\"\"\n");
    let expected = vec![entry(1, "a", "1"), entry(2, "b\tc", "x\ny"), entry(4, "d", "\"q\"")];
    assert_eq!(csv, Ok(expected));
}

#[test]
fn a_last_line_needs_no_newline_and_an_empty_text_is_no_entry() {
    assert_eq!(read(Format::Tsv, "a\t1"), Ok(vec![entry(1, "a", "1")]));
    for format in [Format::Tsv, Format::Csv, Format::Jsonl] {
        assert_eq!(read(format, ""), Ok(vec![]));
    }
}

#[test]
fn every_bad_line_is_refused_with_its_number() {
    let long = "k".repeat(KEY_LEN_MAX + 1);
    let bad = [
        (Format::Tsv, "no tab".to_owned(), "0 tabs"),
        (Format::Tsv, "a\tb\tc".to_owned(), "2 tabs"),
        (Format::Tsv, "\tvalue".to_owned(), "key is empty"),
        (Format::Tsv, "a\\q\tb".to_owned(), "the key: \\q is no escape"),
        (Format::Tsv, "a\tb\\".to_owned(), "the value: a field ends"),
        (Format::Tsv, format!("{long}\tv"), "65536 bytes"),
        (Format::Csv, "only one".to_owned(), "found 1"),
        (Format::Csv, "a,b,c".to_owned(), "found 3"),
        (Format::Csv, ",b".to_owned(), "key is empty"),
        (Format::Jsonl, "{".to_owned(), "EOF"),
        (Format::Jsonl, "[\"a\",\"b\"]".to_owned(), "JSON object"),
        (Format::Jsonl, String::new(), "JSON object"),
        (Format::Tsv, String::new(), "0 tabs"),
        (Format::Jsonl, "{\"key\":\"a\"}".to_owned(), "missing field `value`"),
        (Format::Jsonl, "{\"key\":\"a\",\"value\":1}".to_owned(), "invalid type"),
        (Format::Jsonl, "{\"key\":\"a\",\"value\":\"\",\"more\":1}".to_owned(), "unknown field"),
        (Format::Jsonl, "{\"key\":\"\",\"value\":\"\"}".to_owned(), "key is empty"),
    ];
    for (format, line, wanted) in bad {
        let good = match format {
            Format::Tsv => "a\t1\n",
            Format::Csv => "a,1\n",
            Format::Jsonl => "{\"key\":\"a\",\"value\":\"1\"}\n",
        };
        let message = read(format, &format!("{good}{line}\n{good}")).expect_err("a bad line");
        assert!(message.contains("line 2"), "{format:?} {line:.40}: {message}");
        assert!(message.contains(wanted), "{format:?} {line:.40}: {message}");
    }
}
