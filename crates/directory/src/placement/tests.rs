use std::{
    collections::{BTreeMap, HashMap},
    fs,
    sync::OnceLock,
    thread,
};

use model::{BackendName, UserName};
use parking_lot::Mutex;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{Backends, KnownBackend};

fn user(name: &str) -> CanonicalUser {
    CanonicalUser::declare(UserName::new(name).unwrap())
}

fn backend(name: &str) -> BackendName {
    BackendName::new(name).unwrap()
}

fn known(names: &[&str]) -> Arc<Backends> {
    let known = |name: &&str| KnownBackend {
        name: backend(name),
        hosts: vec![format!("{name}.example.org").parse().unwrap()],
        imap_port: 143,
        pop3_port: 110,
        judges: true,
    };
    Arc::new(Backends::new(names.iter().map(known).collect()))
}

fn pool(name: &str, place: PlaceBy, policy: Policy, members: &[&str]) -> PoolSettings {
    let members = members.iter().map(|name| backend(name)).collect();
    PoolSettings { name: name.into(), place, policy, members }
}

/// The pools `shards` and `users` with the members `a`, `b` and `c`, and a back end `d` in none.
fn pools() -> Pools {
    let members = ["a", "b", "c"];
    Pools {
        pools: vec![
            pool("shards", PlaceBy::Shard, Policy::Weighted, &members),
            pool("users", PlaceBy::User, Policy::Weighted, &members),
        ],
        shares: Vec::new(),
    }
}

fn open(folder: &TempDir, backends: &[&str], pools: Pools) -> Placement {
    let store = Arc::new(Store::open(folder.path()).unwrap());
    Placement::open(store, known(backends), pools).unwrap()
}

/// A folder in which the pools were opened before: to open them anew for each test takes long.
fn prepared() -> TempDir {
    static BEGUN: OnceLock<Vec<u8>> = OnceLock::new();
    let begun = BEGUN.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        drop(open(&folder, &["a", "b", "c"], pools()));
        fs::read(folder.path().join(Store::FILE)).unwrap()
    });
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(Store::FILE), begun).unwrap();
    folder
}

fn opened() -> (TempDir, Placement) {
    let folder = prepared();
    let placement = open(&folder, &["a", "b", "c", "d"], pools());
    (folder, placement)
}

fn wanted(name: &str, pool: &str) -> Wanted {
    Wanted {
        user: user(name),
        pool: pool.into(),
        tag: None,
        id: None,
        anybody: false,
        incomplete: false,
    }
}

fn home(placement: &Placement, wanted: &Wanted) -> String {
    placement.settle(wanted).unwrap().backend.unwrap().to_string()
}

#[test]
fn a_dead_back_end_gets_no_new_users_and_keeps_those_that_it_has() {
    let (_folder, placement) = opened();
    let names: Vec<String> = (0..60).map(|number| format!("user{number}")).collect();
    let before: Vec<_> =
        names.iter().map(|name| home(&placement, &wanted(name, "users"))).collect();
    assert!(before.contains(&"b".to_owned()));
    let dead = Arc::new(Mutex::new(vec!["b".to_owned()]));
    let known = Arc::clone(&dead);
    placement.watch(Arc::new(move |name| !known.lock().contains(&name.to_string())));
    let after: Vec<_> = names.iter().map(|name| home(&placement, &wanted(name, "users"))).collect();
    assert_eq!(before, after);
    for number in 0..60 {
        let new = home(&placement, &wanted(&format!("new{number}"), "users"));
        assert_ne!(new, "b");
    }
    dead.lock().extend(["a", "c"].map(str::to_owned));
    let nowhere = placement.settle(&wanted("another", "users")).unwrap_err();
    assert_eq!(nowhere.reason, model::Reason::DirectoryUnavailable);
    assert_eq!(home(&placement, &wanted("user1", "users")), before[1]);
}

#[test]
fn a_key_is_siphash_2_4_with_128_bits_for_ever() {
    // What mailboxes are found by: were this to change, they would not be. The first is of the reference's
    // vectors (a3817f04ba25a8e66df67214c7550293 for nothing).
    let cluster: [u8; 16] = std::array::from_fn(|number| u8::try_from(number).unwrap());
    let nothing = Key { shard: 0x9302, fingerprint: 0x55c7_1472_f66d_e6a8 };
    assert_eq!(Key::new(&cluster, ""), nothing);
    let drawn = Key { shard: 13_330, fingerprint: -307_747_586_711_267_799 };
    assert_eq!(Key::new(&cluster, "0123456789abcdef0123456789abcdef"), drawn);
}

#[test]
fn every_shard_has_an_owner_and_owners_have_shares_by_weight() {
    let folder = tempfile::tempdir().unwrap();
    let share = |name, weight| Share { backend: backend(name), weight, tags: Vec::new() };
    let pools = Pools { shares: vec![share("c", 2)], ..pools() };
    let placement = open(&folder, &["a", "b", "c"], pools);
    let view = placement.view().unwrap();
    let shards: HashMap<_, _> =
        view[0].members.iter().map(|member| (member.backend.to_string(), member.shards)).collect();
    assert_eq!(shards.values().sum::<u32>(), SHARDS);
    for (name, expected) in [("a", 16384), ("b", 16384), ("c", 32768)] {
        assert!(shards[name].abs_diff(expected) < 800, "{name}: {shards:?}");
    }
    assert!(view[1].members.iter().all(|member| member.shards == 0));
}

#[test]
fn a_user_keeps_the_home_of_his_first_login() {
    let (_folder, placement) = opened();
    for pool in ["shards", "users"] {
        let wanted = wanted(&format!("anna-{pool}"), pool);
        assert_eq!(placement.find(&wanted).unwrap(), None);
        let placed = placement.settle(&wanted).unwrap();
        assert_eq!(placed.own, pool == "users");
        assert_eq!(placement.find(&wanted).unwrap(), Some(placed.clone()));
        assert_eq!(placement.settle(&wanted).unwrap(), placed);
    }
}

#[test]
fn nothing_is_written_where_nothing_may_be() {
    let (_folder, placement) = opened();
    assert_eq!(placement.look(&wanted("anna", "users")).unwrap(), None);
    let known = Wanted { id: Some("id-1".into()), ..wanted("bert", "users") };
    let looked = placement.look(&known).unwrap().unwrap();
    assert_eq!((looked.backend, &*looked.id), (None, "id-1"));
    assert_eq!(placement.store().mailbox(&user("bert")).unwrap(), None);
}

#[test]
fn an_id_that_comes_or_goes_moves_nobody_and_another_id_is_another_person() {
    let (_folder, placement) = opened();
    let with =
        |name: &str, id: Option<&str>| Wanted { id: id.map(Into::into), ..wanted(name, "shards") };
    let drawn = placement.settle(&with("anna", None)).unwrap();
    assert_eq!(placement.settle(&with("anna", Some("x"))).unwrap(), drawn);
    let given = placement.settle(&with("bert", Some("y"))).unwrap();
    assert_eq!(placement.settle(&with("bert", None)).unwrap(), given);
    assert_eq!(&*placement.settle(&with("bert", Some("z"))).unwrap().id, "z");
    // By the same id he is the same under any name.
    assert_eq!(placement.settle(&with("robert", Some("y"))).unwrap(), given);
}

#[test]
fn nobody_is_given_an_id_while_a_source_cannot_say_his() {
    let (_folder, placement) = opened();
    let unsure = Wanted { incomplete: true, ..wanted("anna", "shards") };
    assert!(placement.settle(&unsure).is_err());
    let placed = placement.settle(&wanted("anna", "shards")).unwrap();
    assert_eq!(placement.settle(&unsure).unwrap(), placed);
}

#[test]
fn who_is_known_by_name_alone_leaves_no_row() {
    let (_folder, placement) = opened();
    let anybody = Wanted { anybody: true, ..wanted("guess", "shards") };
    let placed = placement.find(&anybody).unwrap().unwrap();
    assert_eq!(&*placed.id, "guess");
    assert_eq!(placement.store().mailbox(&user("guess")).unwrap(), None);
}

#[test]
fn a_new_member_or_another_configuration_moves_no_existing_mailbox() {
    let folder = prepared();
    let names: Vec<String> = (0..60).map(|number| format!("user{number}")).collect();
    let homes = |placement: &Placement, pool: &str| -> Vec<String> {
        names.iter().map(|name| home(placement, &wanted(&format!("{pool}-{name}"), pool))).collect()
    };
    let placement = open(&folder, &["a", "b", "c", "d"], pools());
    let before = [homes(&placement, "shards"), homes(&placement, "users")];
    for pool in ["shards", "users"] {
        placement.add_member("test", pool, &backend("d")).unwrap();
    }
    assert_eq!([homes(&placement, "shards"), homes(&placement, "users")], before);
    drop(placement);
    // The file says otherwise now: fewer, more, other weights.
    let mut others = pools();
    others.shares = vec![Share { backend: backend("d"), weight: 100, tags: Vec::new() }];
    for other in &mut others.pools {
        other.members = vec![backend("d")];
        other.policy = Policy::FewestUsers;
    }
    let placement = open(&folder, &["a", "b", "c", "d"], others);
    assert_eq!([homes(&placement, "shards"), homes(&placement, "users")], before);
    let new: Vec<String> =
        (0..40).map(|number| home(&placement, &wanted(&format!("new{number}"), "users"))).collect();
    assert!(new.iter().any(|home| home == "d"), "{new:?}");
}

#[test]
fn a_member_that_is_gone_from_the_configuration_keeps_its_mailboxes() {
    let folder = prepared();
    let placement = open(&folder, &["a", "b", "c"], pools());
    let placed: Vec<_> = (0..30)
        .map(|number| placement.settle(&wanted(&format!("user{number}"), "users")).unwrap())
        .collect();
    drop(placement);
    let placement = open(&folder, &["a", "b"], pools());
    for (number, before) in placed.iter().enumerate() {
        let now = placement.settle(&wanted(&format!("user{number}"), "users")).unwrap();
        assert_eq!(&now, before);
    }
    let view = placement.view().unwrap();
    let gone = view[1].members.iter().find(|member| member.backend == backend("c")).unwrap();
    assert!(gone.is_member && !gone.is_configured && gone.users > 0);
    // New ones get there no more.
    for number in 30..60 {
        assert_ne!(home(&placement, &wanted(&format!("user{number}"), "users")), "c");
    }
}

#[test]
fn a_pool_cannot_be_opened_otherwise_than_before() {
    let folder = prepared();
    drop(open(&folder, &["a", "b", "c"], pools()));
    let mut others = pools();
    others.pools[0].place = PlaceBy::User;
    let store = Arc::new(Store::open(folder.path()).unwrap());
    let refused = Placement::open(store, known(&["a", "b", "c"]), others).unwrap_err();
    assert_eq!(&*refused.0, "shards");
    assert!(refused.1.to_string().contains("place = \"shard\""), "{}", refused.1);
}

#[test]
fn drained_and_untagged_back_ends_get_nothing_new() {
    let folder = prepared();
    let tagged = Share { backend: backend("b"), weight: 1, tags: vec!["fast".into()] };
    let placement = open(&folder, &["a", "b", "c"], Pools { shares: vec![tagged], ..pools() });
    let fast = |name: &str| Wanted { tag: Some("fast".into()), ..wanted(name, "users") };
    for number in 0..10 {
        assert_eq!(home(&placement, &fast(&format!("user{number}"))), "b");
    }
    assert!(placement.store().set_drained("test", &backend("b"), true).unwrap());
    assert!(!placement.store().set_drained("test", &backend("b"), true).unwrap());
    assert_eq!(home(&placement, &fast("user1")), "b");
    let refused = placement.settle(&fast("new")).unwrap_err();
    assert!(refused.detail.contains("`fast`"), "{refused:?}");
    for number in 0..20 {
        assert_ne!(home(&placement, &wanted(&format!("other{number}"), "users")), "b");
    }
    placement.store().set_drained("test", &backend("b"), false).unwrap();
    assert_eq!(home(&placement, &fast("new")), "b");
}

#[test]
fn the_fewest_users_are_counted_by_weight() {
    let folder = prepared();
    let heavy = Share { backend: backend("c"), weight: 2, tags: Vec::new() };
    let mut settings = Pools { shares: vec![heavy], ..pools() };
    settings.pools[1].policy = Policy::FewestUsers;
    let placement = open(&folder, &["a", "b", "c"], settings);
    let mut counts = BTreeMap::<String, u32>::new();
    for number in 0..40 {
        *counts.entry(home(&placement, &wanted(&format!("user{number}"), "users"))).or_default() +=
            1;
    }
    let counts: Vec<_> = counts.into_iter().map(|(name, count)| format!("{name}{count}")).collect();
    assert_eq!(counts, ["a10", "b10", "c20"]);
}

#[test]
fn only_one_of_many_places_a_user_and_all_say_the_same() {
    let folder = prepared();
    drop(open(&folder, &["a", "b", "c"], pools()));
    // Each with a store of its own, as processes have.
    let homes: Vec<Vec<Placed>> = thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 0..4 {
            let placement = open(&folder, &["a", "b", "c"], pools());
            threads.push(scope.spawn(move || {
                let settle = |number| placement.settle(&wanted(&format!("user{number}"), "users"));
                (0..25).map(|number| settle(number).unwrap()).collect::<Vec<_>>()
            }));
        }
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for others in &homes[1..] {
        for (one, other) in homes[0].iter().zip(others) {
            assert_eq!((&one.id, &one.backend), (&other.id, &other.backend));
        }
    }
    let placement = open(&folder, &["a", "b", "c"], pools());
    let users: u64 = placement.view().unwrap()[1].members.iter().map(|member| member.users).sum();
    assert_eq!(users, 25);
}

#[test]
fn whoever_comes_second_to_a_page_has_to_look_again() {
    let (_folder, placement) = opened();
    let anna = wanted("anna", "shards");
    let epoch = Some(placement.settle(&anna).unwrap().epoch);
    let place = |name| placement.place_mailbox("test", &anna, epoch, &backend(name));
    assert!(place("d").unwrap().1);
    assert_eq!(place("a"), Err(PlaceRefused::Outdated));
    let placed = placement.settle(&anna).unwrap();
    assert_eq!((placed.backend, placed.own), (Some(backend("d")), true));
    assert!(Some(placed.epoch) > epoch);
}

#[test]
fn a_mailbox_with_the_fingerprint_of_another_gets_no_home_of_its_own() {
    let (_folder, placement) = opened();
    let anna = wanted("anna", "shards");
    let placed = placement.settle(&anna).unwrap();
    placement.place_mailbox("test", &anna, None, &backend("d")).unwrap();
    // As if another id had the same hash.
    let writer = placement.store().writer();
    writer.execute("UPDATE overrides SET mailbox = 'another'", ()).unwrap();
    drop(writer);
    assert_eq!(placement.settle(&anna).unwrap().backend, placed.backend);
    let refused = placement.place_mailbox("test", &anna, None, &backend("a"));
    assert_eq!(refused, Err(PlaceRefused::Collision));
    // Where each has a home of his own, he gets none, and nobody else's is changed.
    let bert = Wanted { id: Some("bert".into()), ..wanted("bert", "users") };
    let key = Key::new(&placement.cluster, "bert");
    let sql = "INSERT INTO overrides (pool, shard, fingerprint, mailbox, epoch, backend, since) \
               VALUES ('users', ?1, ?2, 'another', 1, 'c', 0)";
    placement.store().writer().execute(sql, (key.shard, key.fingerprint)).unwrap();
    let refused = placement.settle(&bert).unwrap_err();
    assert_eq!(refused.reason, model::Reason::DirectoryMisconfigured);
    let epoch = placement.store().page("users", key).unwrap().unwrap().epoch;
    let mailbox = bert.mailbox(None).unwrap();
    let swap = placement.store().settle(&Settle {
        by: ("test", "place"),
        user: &bert.user,
        mailbox: &mailbox,
        before: None,
        store_mailbox: true,
        key,
        own: Some((&backend("a"), epoch)),
        from: None,
    });
    assert_eq!(swap.unwrap(), Swap::Outdated);
    let own = placement.store().page("users", key).unwrap().unwrap().own.unwrap();
    assert_eq!((&*own.mailbox, own.backend), ("another", backend("c")));
}

#[test]
fn the_history_tells_whose_mailbox_is_another_one_from_now_on() {
    let (_folder, placement) = opened();
    let with = |id: &str| Wanted { id: Some(id.into()), ..wanted("bert", "shards") };
    for id in ["y", "y", "z"] {
        placement.settle(&with(id)).unwrap();
    }
    let history = placement.store().history(Some(&user("bert")), 10).unwrap();
    let told: Vec<_> = history
        .iter()
        .map(|event| (&*event.act, event.before.as_deref(), event.after.as_deref()))
        .collect();
    assert_eq!(told, [("change-id", Some("y"), Some("z"))]);
}

/// What an operator or a login may do.
#[derive(Clone, Debug)]
enum Act {
    Login(u8, bool),
    Place(u8, bool, u8),
    Shards(u16, u16, u8),
    AddMember(bool),
    Drain(u8, bool),
    Reopen(u32),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (0..6_u8, any::<bool>()).prop_map(|(user, by_shard)| Act::Login(user, by_shard)),
        2 => (0..6_u8, any::<bool>(), 0..4_u8).prop_map(|(user, by_shard, to)| Act::Place(user, by_shard, to)),
        1 => (any::<u16>(), any::<u16>(), 0..4_u8).prop_map(|(one, other, to)| Act::Shards(one.min(other), one.max(other), to)),
        1 => any::<bool>().prop_map(Act::AddMember),
        1 => (0..3_u8, any::<bool>()).prop_map(|(name, drained)| Act::Drain(name, drained)),
        1 => (1..50_u32).prop_map(Act::Reopen),
    ];
    proptest::collection::vec(act, 1..30)
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn name_of(by_shard: bool) -> &'static str {
    if by_shard { "shards" } else { "users" }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn no_act_but_the_two_that_say_so_changes_a_home_and_epochs_only_grow(acts in acts()) {
        let folder = prepared();
        let mut placement = open(&folder, &NAMES, pools());
        // What each user was told at his last login, and the epoch then.
        let mut homes: HashMap<(u8, bool), Placed> = HashMap::new();
        for act in acts {
            match act {
                Act::Login(user, by_shard) => {
                    let now = placement.settle(&wanted(&format!("{user}{by_shard}"), name_of(by_shard))).unwrap();
                    if let Some(before) = homes.insert((user, by_shard), now.clone()) {
                        prop_assert_eq!(&now.id, &before.id);
                        prop_assert_eq!(&now.backend, &before.backend);
                        prop_assert!(now.epoch >= before.epoch);
                    }
                }
                Act::Place(user, by_shard, to) => {
                    let wanted = wanted(&format!("{user}{by_shard}"), name_of(by_shard));
                    let to = backend(NAMES[usize::from(to)]);
                    placement.place_mailbox("test", &wanted, None, &to).unwrap();
                    let now = placement.find(&wanted).unwrap().unwrap();
                    prop_assert_eq!(now.backend.as_ref(), Some(&to));
                    homes.insert((user, by_shard), now);
                }
                Act::Shards(first, last, to) => {
                    let to = backend(NAMES[usize::from(to)]);
                    placement.place_shards("test", "shards", (first, last), &to).unwrap();
                    for ((_, by_shard), home) in &mut homes {
                        if *by_shard && !home.own && (first..=last).contains(&home.shard) {
                            home.backend = Some(to.clone());
                        }
                    }
                }
                Act::AddMember(by_shard) => {
                    let added = placement.add_member("test", name_of(by_shard), &backend("d"));
                    prop_assert!(matches!(added, Ok(_) | Err(PlaceRefused::Member(_))));
                }
                Act::Drain(name, drained) => {
                    placement.store().set_drained("test", &backend(NAMES[usize::from(name)]), drained && name > 0).unwrap();
                }
                Act::Reopen(weight) => {
                    let shares = vec![Share { backend: backend("b"), weight, tags: Vec::new() }];
                    placement = open(&folder, &NAMES, Pools { shares, ..pools() });
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn a_back_end_more_would_move_about_its_share(count in 1..8_usize) {
        let names: Vec<String> = (0..=count).map(|number| format!("b{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let folder = tempfile::tempdir().unwrap();
        let one = pool("one", PlaceBy::Shard, Policy::Weighted, &names[..count]);
        let placement = open(&folder, &names, Pools { pools: vec![one], shares: Vec::new() });
        let added = placement.add_member("test", "one", &backend(names[count])).unwrap();
        let moved: u64 = added.would_move.iter().map(|(_, shards)| shards).sum();
        let share = 65_536 / (u64::try_from(count).unwrap() + 1);
        prop_assert!(moved.abs_diff(share) < 1_000, "{moved} of about {share}");
    }
}
