//! Every colour has its name in `common/assets/colours.css`, and no other file has colours of its own.

use std::fs;
use std::path::{Path, PathBuf};

/// Files, and folders of files, that are drawn with these colours.
const DRAWN: [&str; 7] = [
    "client/src/report/page",
    "client/src/report/plot",
    "common/src/observe/live",
    "slides/theme.css",
    "slides/plots.mjs",
    "slides/flame.mjs",
    "slides/img",
];

fn drawn() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let of = |path: PathBuf| match fs::read_dir(&path) {
        Ok(entries) => entries.map(|entry| entry.expect("an entry").path()).collect(),
        Err(_) => vec![path],
    };
    DRAWN.iter().flat_map(|name| of(root.join(name))).collect()
}

/// The text between each `begin` and the next `end`.
fn between<'a>(text: &'a str, begin: &'a str, end: char) -> impl Iterator<Item = &'a str> {
    text.split(begin).skip(1).filter_map(move |rest| rest.split(end).next())
}

fn is_colour(text: &str) -> bool {
    let digits = text.chars().take_while(char::is_ascii_hexdigit).count();
    matches!(digits, 3 | 6 | 8) && !text[digits..].starts_with(|next: char| next.is_alphanumeric())
}

#[test]
fn no_other_file_has_colours_of_its_own() {
    for path in drawn() {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (at, line) in text.lines().enumerate() {
            let own = line.split('#').skip(1).find(|rest| is_colour(rest));
            assert!(own.is_none(), "{}:{}: give the colour a name: {line}", path.display(), at + 1);
        }
    }
}

#[test]
fn both_themes_name_what_the_pages_use() {
    let (light, dark) = common::colours::CSS.split_once("@media").expect("two themes");
    let named = |theme: &str, name: &str| theme.contains(&format!("--{name}: #"));
    for path in drawn() {
        let text = fs::read_to_string(&path).expect("a text");
        for name in between(&text, "var(--", ')') {
            // Set where they are used, to a colour of these, a length or a font.
            if ["stage", "accent", "part", "sans", "mono", "marked"].contains(&name) {
                continue;
            }
            let slides = path.components().any(|part| part.as_os_str() == "slides");
            assert!(named(light, name), "{}: --{name} is not in colours.css", path.display());
            assert!(slides || named(dark, name), "{}: --{name} has no dark colour", path.display());
        }
    }
}

/// Relative luminance (WCAG 2.2) of the colour `--name` in a theme.
fn luminance(theme: &str, name: &str) -> f64 {
    let begin = format!("--{name}: #");
    let value = between(theme, &begin, ';').next().unwrap_or_else(|| panic!("no --{name}"));
    let channel = |at: usize| {
        let byte = u8::from_str_radix(&value[at..at + 2], 16).expect("two digits");
        let part = f64::from(byte) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
}

#[test]
fn text_is_legible_on_both_backgrounds() {
    let (light, dark) = common::colours::CSS.split_once("@media").expect("two themes");
    let stages = (1..=4).flat_map(|i| [format!("stage{i}"), format!("other{i}")]);
    let texts: Vec<String> = stages.chain(["ink", "quiet", "alarm"].map(String::from)).collect();
    for (theme, background) in [light, dark].iter().flat_map(|theme| [(theme, "surface"), (theme, "raised")])
    {
        for text in &texts {
            let (one, other) = (luminance(theme, text), luminance(theme, background));
            let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
            assert!(contrast >= 4.5, "--{text} on --{background}: {contrast:.2}");
        }
    }
}
