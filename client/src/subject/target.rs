//! Servers as a command line names them: stages by number, any other by `NAME=COMMAND`.

/// The numbers of the stages given with `--stages`, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stages(pub Vec<u8>);

/// A server given with `--target`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its name in results.
    pub name: String,
    /// Its command, split into words.
    pub words: Vec<String>,
}

/// Parses `1,3` or `none`.
///
/// # Errors
/// What is wrong with it, for clap to show.
pub fn parse_stages(text: &str) -> Result<Stages, String> {
    if text == "none" {
        return Ok(Stages(Vec::new()));
    }
    let number = |word: &str| match word.trim().parse() {
        Ok(number @ 1..=4) => Ok(number),
        _ => Err(format!("'{word}' is not one of the stages 1, 2, 3 and 4")),
    };
    let mut stages = text.split(',').map(number).collect::<Result<Vec<u8>, _>>()?;
    stages.sort_unstable();
    stages.dedup();
    Ok(Stages(stages))
}

/// Parses `NAME=COMMAND`.
///
/// # Errors
/// What is wrong with it, for clap to show.
pub fn parse_target(text: &str) -> Result<Other, String> {
    let (name, command) = text.split_once('=').ok_or("write NAME=COMMAND")?;
    let words = words(command)?;
    if name.trim().is_empty() || words.is_empty() {
        return Err("write NAME=COMMAND, neither of them empty".into());
    }
    Ok(Other { name: name.trim().into(), words })
}

/// Splits a command at spaces outside single and double quotes: a path may contain spaces.
fn words(command: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in command.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            None if letter == '\'' || letter == '"' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    match quote {
        Some(open) => Err(format!("there is no second {open} in {command:?}")),
        None => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_and_targets_parse() {
        assert_eq!(parse_stages("4,1,1"), Ok(Stages(vec![1, 4])));
        assert_eq!(parse_stages("none"), Ok(Stages(Vec::new())));
        assert!(parse_stages("5").is_err() && parse_stages("").is_err() && parse_stages("1,x").is_err());
        let target = parse_target("gorilla=/opt/server -p {port}").expect("a target");
        assert_eq!(target.name, "gorilla");
        assert_eq!(target.words, ["/opt/server", "-p", "{port}"]);
        let target = parse_target("x='/opt/my server' -a \"it's\" ''").expect("a target");
        assert_eq!(target.words, ["/opt/my server", "-a", "it's", ""]);
        for wrong in ["gorilla", "=x", "name=", " = ", "x='/opt/my server"] {
            assert!(parse_target(wrong).is_err(), "{wrong}");
        }
    }
}
