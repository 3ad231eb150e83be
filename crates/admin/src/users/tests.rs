use directory::KnownBackend;

use super::*;

struct Table {
    users: Users,
    actor: Actor,
    _folder: tempfile::TempDir,
}

fn table() -> Table {
    let folder = tempfile::tempdir().unwrap();
    let backend = |name: &str| KnownBackend {
        name: BackendName::new(name).unwrap(),
        hosts: vec![format!("{name}.example.org").parse().unwrap()],
        imap_port: 993,
        pop3_port: 995,
        judges: true,
    };
    let users = Users {
        store: Arc::new(Store::open(folder.path()).unwrap()),
        rules: Rules::default(),
        backends: Backends::new(vec![backend("a"), backend("b")]),
        template: None,
    };
    Table { users, actor: Actor("test:me".into()), _folder: folder }
}

fn on(backend: &str) -> PlaceUser {
    PlaceUser { backend: backend.into(), name_there: None, password: Password::Keep }
}

#[test]
fn a_placed_user_is_shown_with_who_placed_him() {
    let Table { users, actor, _folder } = table();
    let placed = user_place(&users, &actor, " Anna@Example.ORG ", on("a")).unwrap();
    assert_eq!((placed.user.as_str(), placed.change.as_str()), ("anna@example.org", "added"));
    let moved = user_place(&users, &actor, "anna@example.org", on("b")).unwrap();
    assert_eq!(moved.change, "changed");
    let shown = user_show(&users, "ANNA@example.org").unwrap();
    assert_eq!(shown.backend.as_deref(), Some("b"));
    assert_eq!(shown.history[0].actor, "test:me");
    assert_eq!(shown.history[0].before.as_deref(), Some("a"));
}

#[test]
fn a_user_cannot_be_placed_where_nothing_is() {
    let Table { users, actor, _folder } = table();
    let refused = user_place(&users, &actor, "anna", on("c")).unwrap_err();
    assert_eq!(refused.why, Why::Invalid);
    assert!(refused.message.contains("`c`"), "{refused}");
    assert_eq!(user_show(&users, "anna").unwrap_err().why, Why::NotFound);
}

#[test]
fn a_name_that_no_client_could_send_is_refused() {
    let Table { users, actor, _folder } = table();
    for name in ["", "anna\r\nDELE 1", "anna\0"] {
        assert_eq!(user_place(&users, &actor, name, on("a")).unwrap_err().why, Why::Invalid);
    }
}

#[test]
fn a_password_is_stored_and_never_shown() {
    let Table { users, actor, _folder } = table();
    let request = PlaceUser { password: Password::Set("hunter2".into()), ..on("a") };
    assert!(!format!("{request:?}").contains("hunter2"));
    user_place(&users, &actor, "anna", request).unwrap();
    let shown = user_show(&users, "anna").unwrap();
    assert!(shown.has_password);
    assert!(!format!("{shown:?}").contains("hunter2"));
    user_place(&users, &actor, "anna", PlaceUser { password: Password::Forget, ..on("a") })
        .unwrap();
    assert!(!user_show(&users, "anna").unwrap().has_password);
}

#[test]
fn an_empty_password_is_refused_and_the_one_before_stays() {
    let Table { users, actor, _folder } = table();
    let set = |text: &str| PlaceUser { password: Password::Set(text.into()), ..on("a") };
    user_place(&users, &actor, "anna", set("hunter2")).unwrap();
    let refused = user_place(&users, &actor, "anna", set("")).unwrap_err();
    assert_eq!(refused.why, Why::Invalid);
    assert!(refused.message.contains("the password is empty"), "{refused:?}");
    assert!(user_show(&users, "anna").unwrap().has_password);
}

#[test]
fn removing_a_user_who_is_not_there_is_told() {
    let Table { users, actor, _folder } = table();
    assert_eq!(user_remove(&users, &actor, "anna").unwrap_err().why, Why::NotFound);
    user_place(&users, &actor, "anna", on("a")).unwrap();
    assert_eq!(user_remove(&users, &actor, "anna").unwrap().change, "removed");
}

#[test]
fn a_list_is_given_page_by_page() {
    let Table { users, actor, _folder } = table();
    let text = "anna:a\nbert:b\ncarl:a\n";
    let request = ImportRequest { format: ImportFormat::Perdition, skip_wrong: false };
    let imported = user_import(&users, &actor, request, &mut text.as_bytes(), &mut |_| {}).unwrap();
    assert_eq!((imported.added, imported.written), (3, true));
    let page = |after: Option<&str>| {
        let after = after.map(str::to_owned);
        user_list(&users, ListUsers { prefix: String::new(), after, limit: 2 }).unwrap()
    };
    let names =
        |list: &UserList| list.users.iter().map(|line| line.user.clone()).collect::<Vec<_>>();
    let first = page(None);
    assert_eq!((names(&first), first.more), (vec!["anna".to_owned(), "bert".to_owned()], true));
    let second = page(Some("bert"));
    assert_eq!((names(&second), second.more), (vec!["carl".to_owned()], false));
}

#[test]
fn an_import_with_a_wrong_line_changes_nothing() {
    let Table { users, actor, _folder } = table();
    let text = "anna:a\nbert:nowhere\n";
    let request = ImportRequest { format: ImportFormat::Perdition, skip_wrong: false };
    let imported = user_import(&users, &actor, request, &mut text.as_bytes(), &mut |_| {}).unwrap();
    assert_eq!(
        (imported.written, imported.problem_count, imported.problems[0].line),
        (false, 1, 2)
    );
    assert_eq!(user_show(&users, "anna").unwrap_err().why, Why::NotFound);
}

#[test]
fn a_name_before_an_at_sign_is_led_to_the_option_for_it() {
    let Table { users, actor, _folder } = table();
    let refused = user_place(&users, &actor, "anna", on("robert@x@a")).unwrap_err();
    assert!(refused.message.contains("write `a`"), "{refused}");
    assert!(refused.message.contains("--as robert@x "), "{refused}");
}

#[test]
fn an_export_has_passwords_only_where_they_are_asked_for() {
    let Table { users, actor, _folder } = table();
    let password = Password::Set("hunter2".into());
    user_place(&users, &actor, "anna", PlaceUser { password, ..on("a") }).unwrap();
    user_place(&users, &actor, "bert", on("b")).unwrap();
    let export = |passwords| {
        let (prefix, after) = (String::new(), None);
        user_export(&users, &actor, ExportUsers { prefix, after, limit: 10, passwords }).unwrap()
    };
    assert!(export(false).users.iter().all(|line| line.password.is_none()));
    let with: Vec<_> = export(true).users.into_iter().map(|line| line.password).collect();
    assert_eq!(with, [Some("hunter2".to_owned()), None]);
    assert!(!format!("{:?}", export(true)).contains("hunter2"));
}
