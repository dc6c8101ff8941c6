use std::path::PathBuf;

use super::Source;

fn source(text: &str) -> Source {
    Source::new(PathBuf::from("src/lib.rs"), text.to_owned())
}

#[test]
fn strings_characters_and_comments_are_blanked_and_lifetimes_stay() {
    let text =
        "f::<'a>(\"x\\\"{\", '{', '\\'', b\"}\", r##\"\"#{\"##); /* { /* { */ } */ // {\ng();";
    let code = source(text).code;
    assert!(!code.contains('{') && !code.contains('}'), "{code}");
    assert!(code.starts_with("f::<'a>(\"") && code.ends_with("\ng();"), "{code}");
}

#[test]
fn offsets_and_lines_survive_blanking() {
    let source = source("// \u{e9}\u{e9}\n\"a\nb\" x\n");
    let offset = source.words("x").next().unwrap();
    assert_eq!(source.line(offset), 3);
    assert_eq!(source.comments, [(1, " \u{e9}\u{e9}".to_owned())]);
}

#[test]
fn an_inline_test_module_ends_at_its_brace() {
    let source =
        source("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { if x {} }\n}\nfn c() {}\n");
    let ranges = source.inline_tests();
    assert_eq!(ranges.len(), 1);
    assert_eq!((source.line(ranges[0].start), source.line(ranges[0].end)), (2, 5));
}
