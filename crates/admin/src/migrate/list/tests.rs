//! Lists as they are found, and mistakes as they are made.

use super::*;
use crate::migrate::{Credential, SecretSource};

fn read(text: &str, format: ListFormat) -> Result<List, Mistaken> {
    List::read(text, format, &Asked::default(), &Asked::default())
}

/// Line, both accounts and both passwords of each pair.
fn told(list: &List) -> Vec<String> {
    let account = |asked: &Asked, side| {
        let account = asked.account(side, Spelled::Key).unwrap();
        let secret = match &account.server().unwrap().credential {
            Credential::Password(SecretSource::Given(secret)) => {
                String::from_utf8(secret.reveal().to_vec()).unwrap()
            }
            other => format!("{other:?}"),
        };
        format!("{account} by {secret}")
    };
    let pair = |pair: &Listed| {
        format!(
            "{}: {} -> {}",
            pair.line,
            account(&pair.from, Side::From),
            account(&pair.to, Side::To)
        )
    };
    list.pairs.iter().map(pair).collect()
}

fn mistakes(text: &str, format: ListFormat) -> String {
    let mistaken = read(text, format).unwrap_err().to_string();
    assert!(!mistaken.contains("hunter2"), "{mistaken}");
    mistaken
}

#[test]
fn a_file_of_imapsync_is_read_as_it_is() {
    let list = "\
        # host1;user1;password1;host2;user2;password2;\r\n\
        old.test;ann;hunter2;new.test;ann@example.org;sesame;\r\n\
        \r\n\
        imap://old.test:1143;bob;\"a,b;new.test:1993;bob;c;;\r\n";
    assert_eq!(
        told(&read(list, ListFormat::Lines).unwrap()),
        [
            "2: imaps://ann@old.test by hunter2 -> imaps://ann@example.org@new.test by sesame",
            "4: imap://bob@old.test:1143 by \"a,b -> imaps://bob@new.test:1993 by c",
        ]
    );
}

#[test]
fn columns_go_by_their_names_and_what_all_have_in_common_stands_elsewhere() {
    let mut from = Asked::default();
    from.set("", "imaps://old.test").unwrap();
    let mut to = Asked::default();
    to.set("", "imap://new.test").unwrap();
    let text =
        "from_user,from_password,to_user,to_password\nann,\"hun,\"\"ter2\",ann,x\nbob,y,rob,z\n";
    let list = List::read(text, ListFormat::Lines, &from, &to).unwrap();
    assert_eq!(
        told(&list),
        [
            "2: imaps://ann@old.test by hun,\"ter2 -> imap://ann@new.test by x",
            "3: imaps://bob@old.test by y -> imap://rob@new.test by z",
        ]
    );
    let text = "to;from;to_password_file;from_password\nimaps://ann@new.test;imaps://ann@old.test;f;hunter2";
    assert_eq!(
        told(&read(text, ListFormat::Lines).unwrap()),
        ["2: imaps://ann@old.test by hunter2 -> imaps://ann@new.test by Password(File(\"f\"))"]
    );
}

#[test]
fn in_toml_what_stands_before_the_first_account_holds_for_all() {
    let text = r#"
from = "imaps://old.test"
to = "imap://new.test"
to_password = "sesame"

[[account]]
from_user = "ann"
from_password = "hunter2"
to_user = "ann@example.org"

[[account]]
from = "imaps://bob@older.test"
from_password_file = "/run/bob"
to_user = "bob"
"#;
    assert_eq!(
        told(&read(text, ListFormat::Toml).unwrap()),
        [
            "6: imaps://ann@old.test by hunter2 -> imap://ann@example.org@new.test by sesame",
            "11: imaps://bob@older.test by Password(File(\"/run/bob\")) -> imap://bob@new.test by sesame",
        ]
    );
}

#[test]
fn all_mistakes_of_a_file_are_told_with_their_lines_and_without_passwords() {
    let text = "old.test;ann;hunter2\n\
        old.test;bob;hunter2;new.test;bob;x;--maxage 3\n\
        ;carl;hunter2;new.test;carl;x\n\
        old.test;dan;;new.test;dan;x\n\
        imaps://old.test/hunter2;eve;hunter2;new.test;eve;x\n";
    assert_eq!(
        mistakes(text, ListFormat::Lines),
        "line 1: there are 3 values, and 6 are expected: \
         host1;user1;password1;host2;user2;password2; or begin with a line that names the columns\n\
         line 2: there is something behind password2: options for a single account cannot be given; give \
         those for all on the command line\n\
         line 3: from is missing: from = \"imaps://USER@HOST\"\n\
         line 4: there is no password for from: give from_password_file, from_password_env or \
         from_password_command\n\
         line 5: `from`: nothing may stand behind the server: mailboxes are chosen by --include and --exclude\n\
         line 5: from is missing: from = \"imaps://USER@HOST\""
    );
}

#[test]
fn mistakes_in_columns_and_toml_are_told_with_their_lines_and_without_passwords() {
    for (text, format, wanted) in [
        (
            "from_user,pasword\nann,hunter2\n",
            ListFormat::Lines,
            "line 2: `pasword`: there is no such key",
        ),
        ("from,to\na,b,hunter2\n", ListFormat::Lines, "line 2: there are 3 values for 2 columns"),
        ("from,to\n\"hunter2\n", ListFormat::Lines, "line 2: a quotation mark is not closed"),
        ("from,to\n\"a\"hunter2,b\n", ListFormat::Lines, "line 2: there is something between"),
        ("# nothing\n", ListFormat::Lines, "line 1: there is no account in it"),
        (
            "\n[[account]]\nfrom_pasword = \"hunter2\"\n",
            ListFormat::Toml,
            "line 3: `from_pasword`: ",
        ),
        (
            "[[account]]\nfrom_password = 4711\n",
            ListFormat::Toml,
            "line 2: `from_password`: it is a text",
        ),
        ("[[account]]\nfrom_password = hunter2\n", ListFormat::Toml, "line 2: "),
        ("account = 3\n", ListFormat::Toml, "line 1: write [[account]]"),
        ("from_ = \"x\"\n[[account]]\n", ListFormat::Toml, "line 1: `from_`: there is no such key"),
        ("", ListFormat::Toml, "line 1: there is no account in it"),
    ] {
        let told = mistakes(text, format);
        assert!(told.contains(wanted), "{told}");
        assert!(!told.contains("4711"), "{told}");
    }
}

#[test]
fn an_account_stands_in_a_list_once_and_is_not_migrated_to_itself() {
    let row = "a.test;ann;x;b.test;ann;y\n";
    let told = mistakes(&format!("{row}a.test;bob;x;a.test;bob;y\n{row}"), ListFormat::Lines);
    assert_eq!(
        told,
        "line 2: imaps://bob@a.test cannot be migrated to itself\n\
         line 3: these accounts stand in line 1 already"
    );
}
