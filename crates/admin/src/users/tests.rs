use directory::{
    KnownBackend, PlaceBy, Policy, PoolSettings, PoolUse, Pools, Settings, SourceKind,
    SourceSettings, StaticSettings,
};

use super::*;
use crate::{
    AlsoKick, Hold, ListPage, PlaceShards, RemoveUser, RenameUser, RenamedUser, WhichPool,
    backend_add, hold, mailbox_list, release, removal, renaming, shard_place, user_rename,
    whereabouts,
};

struct Table {
    directory: Directory,
    users: Users,
    actor: Actor,
    _folder: tempfile::TempDir,
}

impl Table {
    fn place(&self, name: &str, request: PlaceUser) -> Result<Placed, Refused> {
        let at = block_on(whereabouts(&self.directory, name))?;
        user_place(&self.directory, Some(&self.users), &self.actor, &at, request)
    }

    fn show(&self, name: &str) -> Result<ShownUser, Refused> {
        let at = block_on(whereabouts(&self.directory, name));
        user_show(&self.directory, Some(&self.users), name, at)
    }

    fn remove(&self, name: &str, mail_is_already_there: bool) -> Result<Placed, Refused> {
        let request = RemoveUser { mail_is_already_there };
        let removal = block_on(removal(&self.directory, name, request))?;
        user_remove(&self.users, &self.actor, &removal)
    }

    fn rename(&self, old: &str, to: &str, there: bool) -> Result<RenamedUser, Refused> {
        let request = RenameUser { to: to.into(), mail_is_already_there: there };
        let renaming = block_on(renaming(&self.directory, old, &request))?;
        user_rename(&self.directory, &self.actor, &renaming)
    }

    /// What a login does.
    fn log_in(&self, name: &str) -> String {
        let user = canonical(self.directory.rules(), name).unwrap();
        let query = directory::Query::without_client(user, Protocol::Imap);
        match block_on(self.directory.look_up(&query)).unwrap() {
            directory::Verdict::Admit(route) => route.targets[0].backend.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn table() -> Table {
    table_with(None)
}

/// With the pool `main` of `a` and `b` for those whom the table leaves open, or without.
fn table_with(place: Option<PlaceBy>) -> Table {
    table_before(place, Vec::new())
}

/// The table, and other sources behind it.
fn table_before(place: Option<PlaceBy>, others: Vec<SourceSettings>) -> Table {
    let folder = tempfile::tempdir().unwrap();
    let name = |name: &str| BackendName::new(name).unwrap();
    let backend = |text: &str| KnownBackend {
        name: name(text),
        hosts: vec![format!("{text}.example.org").parse().unwrap()],
        imap_port: 993,
        pop3_port: 995,
        judges: true,
    };
    let pool = |place| PoolSettings {
        name: "main".into(),
        place,
        policy: Policy::Weighted,
        members: vec![name("a"), name("b")],
    };
    let pool_use = PoolUse { pool: "main".into(), tag: None };
    let source = SourceSettings {
        pool: place.is_some().then_some(pool_use),
        ..SourceSettings::new("table", SourceKind::Table)
    };
    let directory = Directory::open(Settings {
        rules: Rules::default(),
        chain: [vec![source], others].concat(),
        backends: vec![backend("a"), backend("b"), backend("d")],
        pools: Pools { pools: place.map(pool).into_iter().collect(), shares: Vec::new() },
        state: folder.path().to_owned(),
        passwords: directory::passwords::PasswordSettings::default(),
        tokens: None,
    })
    .unwrap();
    let users = Users {
        store: Arc::clone(directory.table().unwrap()),
        rules: Rules::default(),
        backends: directory.backends().clone(),
        template: None,
        has_pool: place.is_some(),
    };
    Table { directory, users, actor: Actor("test:me".into()), _folder: folder }
}

fn on(backend: &str) -> PlaceUser {
    PlaceUser {
        backend: backend.into(),
        name_there: None,
        password: Password::Keep,
        mail_is_already_there: false,
    }
}

fn moved_to(backend: &str) -> PlaceUser {
    PlaceUser { mail_is_already_there: true, ..on(backend) }
}

fn imported(format: ImportFormat) -> ImportRequest {
    ImportRequest { format, skip_wrong: false, mail_is_already_there: false }
}

#[test]
fn a_placed_user_is_shown_with_who_placed_him() {
    let table = table();
    let placed = table.place(" Anna@Example.ORG ", on("a")).unwrap();
    assert_eq!((placed.user.as_str(), placed.change.as_str()), ("anna@example.org", "added"));
    let refused = table.place("anna@example.org", on("b")).unwrap_err();
    assert_eq!(refused.why, Why::Invalid);
    assert!(refused.message.contains("--mail-is-already-there"), "{refused}");
    let renamed = PlaceUser { name_there: Some("anna".into()), ..on("a") };
    assert_eq!(table.place("anna@example.org", renamed).unwrap_err().why, Why::Invalid);
    let moved = table.place("anna@example.org", moved_to("b")).unwrap();
    assert_eq!(moved.change, "changed");
    let shown = table.show("ANNA@example.org").unwrap();
    assert_eq!(shown.backend.as_deref(), Some("b"));
    assert_eq!(shown.history[0].actor, "test:me");
    assert_eq!(shown.history[0].before.as_deref(), Some("a"));
}

#[test]
fn a_user_cannot_be_placed_where_nothing_is() {
    let table = table();
    let refused = table.place("anna", on("c")).unwrap_err();
    assert_eq!(refused.why, Why::Invalid);
    assert!(refused.message.contains("`c`"), "{refused}");
    assert_eq!(table.show("anna").unwrap_err().why, Why::NotFound);
}

#[test]
fn a_name_that_no_client_could_send_is_refused() {
    let table = table();
    for name in ["", "anna\r\nDELE 1", "anna\0"] {
        assert_eq!(table.place(name, on("a")).unwrap_err().why, Why::Invalid);
    }
}

#[test]
fn a_password_is_stored_and_never_shown() {
    let table = table();
    let request = PlaceUser { password: Password::Set("hunter2".into()), ..on("a") };
    assert!(!format!("{request:?}").contains("hunter2"));
    table.place("anna", request).unwrap();
    let shown = table.show("anna").unwrap();
    assert!(shown.has_password);
    assert!(!format!("{shown:?}").contains("hunter2"));
    table.place("anna", PlaceUser { password: Password::Forget, ..on("a") }).unwrap();
    assert!(!table.show("anna").unwrap().has_password);
}

#[test]
fn an_empty_password_is_refused_and_the_one_before_stays() {
    let table = table();
    let set = |text: &str| PlaceUser { password: Password::Set(text.into()), ..on("a") };
    table.place("anna", set("hunter2")).unwrap();
    let refused = table.place("anna", set("")).unwrap_err();
    assert_eq!(refused.why, Why::Invalid);
    assert!(refused.message.contains("the password is empty"), "{refused:?}");
    assert!(table.show("anna").unwrap().has_password);
}

#[test]
fn removing_a_user_who_is_not_there_is_told() {
    let table = table();
    assert_eq!(table.remove("anna", false).unwrap_err().why, Why::NotFound);
    table.place("anna", on("a")).unwrap();
    assert_eq!(table.remove("anna", false).unwrap().change, "removed");
}

/// Everybody is there.
fn everybody_at(backend: &str) -> SourceSettings {
    let answer = backend.parse().unwrap();
    SourceSettings::new("static", SourceKind::Static(StaticSettings { answer }))
}

/// A source that cannot say anything of anybody.
fn mute() -> SourceSettings {
    let cannot_ask = Some("it is mute".to_owned());
    SourceSettings { cannot_ask, ..everybody_at("a") }
}

#[test]
fn a_row_that_goes_leaves_nobody_to_another_source_unless_the_mail_is_there() {
    let table = table_before(None, vec![everybody_at("b")]);
    let place = |name: &str, there: &str| {
        let backend = there.into();
        table.place(name, PlaceUser { mail_is_already_there: true, backend, ..on("a") }).unwrap()
    };
    place("anna", "a");
    let refused = table.remove("anna", false).unwrap_err();
    assert!(refused.message.contains("`anna` is looked for at a"), "{refused}");
    assert!(refused.message.contains("--mail-is-already-there"), "{refused}");
    assert_eq!(table.log_in("anna"), "a");
    table.remove("anna", true).unwrap();
    assert_eq!(table.log_in("anna"), "b");
    place("bert", "b");
    table.remove("bert", false).unwrap();
    let table = table_before(None, vec![mute()]);
    let anna = canonical(&table.users.rules, "anna").unwrap();
    let at_a = "a".parse().unwrap();
    table.users.store.place("test", &anna, &at_a, PasswordChange::Keep).unwrap();
    assert_eq!(table.remove("anna", false).unwrap_err().why, Why::Unavailable);
    table.remove("anna", true).unwrap();
}

#[test]
fn a_name_that_another_source_knows_is_given_to_no_mailbox_elsewhere() {
    let table = table_before(None, vec![everybody_at("b")]);
    table.place("anna", moved_to("a")).unwrap();
    let refused = table.rename("anna", "anne", false).unwrap_err();
    assert_eq!(refused.why, Why::Invalid);
    assert_eq!((table.log_in("anna"), table.log_in("anne")), ("a".into(), "b".into()));
    table.rename("anna", "anne", true).unwrap();
    assert_eq!(table.log_in("anne"), "a");
    // Where all are on one server, a name is a name.
    table.place("bert", moved_to("b")).unwrap();
    table.rename("bert", "bart", false).unwrap();
    let alone = self::table();
    alone.place("anna", on("a")).unwrap();
    alone.rename("anna", "anne", false).unwrap();
    assert_eq!(alone.log_in("anne"), "a");
}

#[test]
fn who_cannot_be_looked_for_is_not_said_to_be_nowhere() {
    let table = table_before(None, vec![mute()]);
    assert_eq!(table.show("anna").unwrap_err().why, Why::Unavailable);
    let without = user_show(&table.directory, None, "anna", Err(Refused::invalid("x")));
    assert_eq!(without.unwrap_err().message, "x");
}

#[test]
fn a_list_is_given_page_by_page() {
    let table = table();
    let text = "anna:a\nbert:b\ncarl:a\n";
    let request = imported(ImportFormat::Perdition);
    let imported =
        user_import(&table.users, &table.actor, request, &mut text.as_bytes(), &mut |_| {})
            .unwrap();
    assert_eq!((imported.added, imported.written), (3, true));
    let page = |after: Option<&str>| {
        let after = after.map(str::to_owned);
        user_list(&table.users, ListPage { prefix: String::new(), after, limit: 2 }).unwrap()
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
    let table = table();
    let text = "anna:a\nbert:nowhere\n";
    let request = imported(ImportFormat::Perdition);
    let imported =
        user_import(&table.users, &table.actor, request, &mut text.as_bytes(), &mut |_| {})
            .unwrap();
    assert_eq!(
        (imported.written, imported.problem_count, imported.problems[0].line),
        (false, 1, 2)
    );
    assert_eq!(table.show("anna").unwrap_err().why, Why::NotFound);
}

#[test]
fn a_name_before_an_at_sign_is_led_to_the_option_for_it() {
    let table = table();
    let refused = table.place("anna", on("robert@x@a")).unwrap_err();
    assert!(refused.message.contains("write `a`"), "{refused}");
    assert!(refused.message.contains("--as robert@x "), "{refused}");
}

#[test]
fn an_export_has_passwords_only_where_they_are_asked_for() {
    let table = table();
    let password = Password::Set("hunter2".into());
    table.place("anna", PlaceUser { password, ..on("a") }).unwrap();
    table.place("bert", on("b")).unwrap();
    let export = |passwords| {
        let (prefix, after) = (String::new(), None);
        user_export(&table.users, &table.actor, ExportUsers { prefix, after, limit: 10, passwords })
            .unwrap()
    };
    assert!(export(false).users.iter().all(|line| line.password.is_none()));
    let with: Vec<_> = export(true).users.into_iter().map(|line| line.password).collect();
    assert_eq!(with, [Some("hunter2".to_owned()), None]);
    assert!(!format!("{:?}", export(true)).contains("hunter2"));
}

#[test]
fn a_pool_s_user_is_placed_shown_moved_and_renamed_by_his_mailbox() {
    for by in [PlaceBy::Shard, PlaceBy::User] {
        let table = table_with(Some(by));
        let text = "user,password_hash\nanna,\nbert,\n";
        let request = imported(ImportFormat::Csv);
        let done =
            user_import(&table.users, &table.actor, request, &mut text.as_bytes(), &mut |_| {});
        assert_eq!(done.unwrap().added, 2);
        assert_eq!(table.show("anna").unwrap().mailbox, None);
        let home = table.log_in("anna");
        let shown = table.show("anna").unwrap();
        assert_eq!(shown.backend.as_deref(), Some(home.as_str()));
        let mailbox = shown.mailbox.unwrap();
        assert_eq!(mailbox.from, if by == PlaceBy::User { "own" } else { "shard" });
        let refused = table.place("anna", on("d")).unwrap_err();
        assert!(refused.message.contains("--mail-is-already-there"), "{refused}");
        assert_eq!(table.log_in("anna"), home);
        assert_eq!(table.place("anna", moved_to("d")).unwrap().change, "changed");
        assert_eq!(table.log_in("anna"), "d");
        let rename = |old: &str, new: &str| table.rename(old, new, false);
        assert_eq!(rename("anna", "bert").unwrap_err().why, Why::Invalid);
        assert_eq!(rename("nobody", "carl").unwrap_err().why, Why::NotFound);
        rename("anna", "anne").unwrap();
        assert_eq!(table.log_in("anne"), "d");
        let shown = table.show("anne").unwrap();
        assert_eq!(shown.mailbox.unwrap().id, mailbox.id);
        assert_eq!(shown.history[0].act, "rename");
        let list = ListPage { prefix: String::new(), after: None, limit: 10 };
        let list = mailbox_list(&table.directory, list).unwrap();
        assert_eq!(list.mailboxes.len(), 1);
        assert_eq!(list.mailboxes[0].user, "anne");
    }
}

#[test]
fn shards_are_placed_only_by_who_says_that_the_mail_is_there() {
    let table = table_with(Some(PlaceBy::Shard));
    let request = |mail_is_already_there, backend: &str| PlaceShards {
        pool: None,
        first: 0,
        last: 99,
        backend: backend.into(),
        mail_is_already_there,
    };
    let place = |request| shard_place(&table.directory, &table.actor, request);
    assert_eq!(place(request(false, "d")).unwrap_err().why, Why::Invalid);
    assert_eq!(place(request(true, "x")).unwrap_err().why, Why::NotFound);
    assert_eq!(place(request(true, "d")).unwrap().changed, 100);
    assert_eq!(place(request(false, "d")).unwrap().changed, 0);
    let which = WhichPool { pool: Some("main".into()) };
    let added = backend_add(&table.directory, &table.actor, "d", which.clone()).unwrap();
    assert_eq!((added.version, added.members.join(",")), (2, "a,b,d".to_owned()));
    let again = backend_add(&table.directory, &table.actor, "d", which).unwrap_err();
    assert_eq!(again.why, Why::Invalid);
}

#[test]
fn holds_are_kept_and_told() {
    let table = table();
    table.place("anna", on("a")).unwrap();
    let also = AlsoKick::default();
    let hold_it = |what| hold(&table.directory, None, &table.actor, what, None, also);
    assert!(hold_it(Hold::User("Anna")).unwrap().changed);
    assert!(!hold_it(Hold::User("anna")).unwrap().changed);
    assert!(hold_it(Hold::Backend("b")).unwrap().changed);
    assert_eq!(hold_it(Hold::Backend("x")).unwrap_err().why, Why::NotFound);
    assert!(table.show("anna").unwrap().held);
    assert_eq!(table.directory.held().unwrap().len(), 2);
    let released = release(&table.directory, &table.actor, Hold::User("anna")).unwrap();
    assert!(released.changed && !table.show("anna").unwrap().held);
}
