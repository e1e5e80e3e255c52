//! The README's plugin is the example that is compiled.

#[test]
fn the_plugin_in_the_readme_is_the_example() {
    let readme = include_str!("../../README.md");
    let example = include_str!("../../examples/minimal.rs");
    assert!(readme.contains(&format!("```no_run\n{example}```\n")));
}
