//! Command lines as they stand in imapsync's manual, its FAQ and people's scripts, and what becomes of them. Each
//! golden file has options behind `$ `, and below what is printed; a command that is printed can be given.

use clap::Parser;

use super::{options::all_switches, *};
use crate::cli::Cli;

const GOLDEN: &str = include_str!("golden.txt");

fn printed(options: &str) -> String {
    match translated(options) {
        Ok(translated) => translated.render(),
        Err(error) => format!("error: {error}\n"),
    }
}

#[test]
fn each_command_line_becomes_what_is_written_down() {
    let mut made = String::new();
    for options in GOLDEN.lines().filter_map(|line| line.strip_prefix("$ ")) {
        made.push_str(&format!("$ {options}\n{}\n", printed(options)));
    }
    assert_eq!(made.trim_end(), GOLDEN.trim_end(), "made of the options:\n{made}");
}

#[test]
fn each_command_that_is_printed_can_be_given() {
    for options in GOLDEN.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let Ok(translated) = translated(options) else { continue };
        if let Err(error) = Cli::try_parse_from(&translated.command) {
            panic!("{options}\n{error}");
        }
        let lines = translated.render();
        let typed: Vec<&str> = lines.lines().filter(|line| !line.starts_with('#')).collect();
        let words = shlex::split(&typed.join("\n").replace("\\\n", " ")).unwrap();
        assert_eq!(words, translated.command, "{options}");
    }
}

#[test]
fn no_secret_is_repeated() {
    for options in [
        "--host1 a --user1 u --password1 hunter2 --host2 b --user2 u --passfile2 f",
        "--host1 a --user1 u --password1=hunter2 --host2 b --user2 u -password2 hunter2",
        "--host1 a --user1 u --oauthaccesstoken1 hunter2 --host2 b --user2 u --oauthdirect2 hunter2",
        "--host1 a --user1 u --host2 b --user2 u --unknown hunter2",
        "--host1 a --user1 u --password1 my hunter2 --host2 b --user2 u",
        "--host1 a --user1 u --password1 'hunter2",
    ] {
        let printed = printed(options);
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}

#[test]
fn each_option_of_imapsync_is_translated_or_remarked_or_is_as_ever_here() {
    let base = "--host1 a --user1 u --password1 p --host2 b --user2 u --password2 p --automap";
    let without = printed(base);
    for name in all_switches() {
        let silent = matches!(
            name,
            "automap"
                | "resyncflags"
                | "subscribe"
                | "syncduplicates"
                | "syncinternaldates"
                | "ssl1"
                | "ssl2"
        );
        let with = printed(&format!("{base} --{name}"));
        assert_eq!(with == without, silent, "--{name}:\n{with}");
    }
}

#[test]
fn a_command_over_several_lines_is_read_as_one() {
    let lines = "imapsync \\\n  --host1 a --user1 u --passfile1 p \\\r\n --host2 b --user2 u \\\n--passfile2 p";
    assert_eq!(printed(lines), printed(&lines.replace(['\\', '\r', '\n'], " ")));
    assert!(printed(lines).starts_with("posthouse migrate"));
}
