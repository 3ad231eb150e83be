//! What programs of other languages use to read mail, through Posthouse: a whole session each, always under TLS.

use std::{fs, process::Command};

use e2e::{
    cases,
    door::{Door, everybody_at, usual},
    house::{House, Kind, Person},
    programs::{self, printed},
    runner::Case,
};
use testkit::mail_clients::programs::{node_with_imapflow, perl_with_imapclient};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        perls_mail_imapclient_works_in_a_mailbox_on_dovecot,
        perls_mail_imapclient_works_in_a_mailbox_on_cyrus,
        nodes_imapflow_works_in_a_mailbox_on_dovecot,
        nodes_imapflow_works_in_a_mailbox_on_cyrus,
    ]
}

const MESSAGE: &str = "From: a@example.org\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\
    Subject: by a module\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Transfer-Encoding: 8bit\r\n\r\n.\r\n..\r\na1 OK done\r\nsee {5}\r\n\
    Gr\u{fc}\u{df}e \u{2709}\r\nend\r\n";

/// Runs a script with the way and port, the authority's file, name and password, and a message's file.
fn session(house: &House, kind: Kind, script: &dyn Fn() -> Command) {
    let config = usual(&format!("{}{}", house.backend(kind), everybody_at(kind.name())));
    let (door, person): (Door, Person) = (Door::open(&config), house.person(kind));
    let file = door.folder().join("message");
    fs::write(&file, MESSAGE).unwrap();
    for (way, port) in [("tls", door.imaps), ("starttls", door.imap)] {
        let mut command = script();
        command.args([way, &port.to_string()]).arg(door.authority());
        command.args([&person.name, &person.password]).arg(&file);
        let output = programs::limited(&command).output().unwrap();
        assert_eq!(printed(&output), "done\n", "{way}\n{}", door.log_text());
    }
}

const PERL: &str = r#"
use strict; use warnings; use Mail::IMAPClient; use IO::Socket::SSL;
my ($way, $port, $ca, $name, $password, $file) = @ARGV;
my @tls = (SSL_ca_file => $ca, SSL_verify_mode => SSL_VERIFY_PEER, SSL_verifycn_name => "localhost", SSL_verifycn_scheme => "imap");
sub connected {
    my $client = Mail::IMAPClient->new(
        Server => "127.0.0.1", Port => $port, Timeout => 30, Uid => 1, Peek => 1,
        ($way eq "tls" ? (Ssl => [@tls]) : (Starttls => [@tls])),
    ) or die "cannot connect: $@";
    return $client;
}
my $refused = connected();
$refused->User($name); $refused->Password("wrong");
die "a wrong password was taken" if $refused->login;
die $refused->LastError unless $refused->LastError =~ /AUTHENTICATIONFAILED/;
for my $mechanism (undef, "PLAIN") {
    my $client = connected();
    $client->User($name); $client->Password($password);
    $client->Authmechanism($mechanism) if $mechanism;
    $client->login or die $client->LastError;
    my $checked = sub { my ($value) = @_; defined $value or die $client->LastError; return $value };
    my $folder = "Perl-$way-" . ($mechanism // "LOGIN");
    $checked->($client->create($folder));
    grep { $_ eq $folder } $client->folders or die "no $folder in the list";
    open(my $handle, "<:raw", $file) or die $!;
    my $message = do { local $/; <$handle> };
    my $uid = $checked->($client->append_string($folder, $message, '\Seen'));
    $checked->($client->select($folder));
    my @all = $client->messages;
    die "not one message: @all" unless @all == 1;
    my $fetched = $checked->($client->message_string($all[0]));
    die "differs: $fetched" unless $fetched eq $message;
    die "subject" unless $client->subject($all[0]) =~ /module/;
    $checked->($client->set_flag("Flagged", $all[0]));
    grep { $_ eq '\Flagged' } $client->flags($all[0]) or die "not flagged";
    $checked->($client->delete_message($all[0]));
    $checked->($client->expunge);
    die "still there" if $client->message_count($folder);
    $checked->($client->close);
    $checked->($client->delete($folder));
    $checked->($client->logout);
}
print "done\n";
"#;

fn perl(house: &House, kind: Kind) {
    session(house, kind, &|| {
        let mut command = perl_with_imapclient().unwrap();
        command.args(["-e", PERL, "--"]);
        command
    });
}

fn perls_mail_imapclient_works_in_a_mailbox_on_dovecot(house: &House) {
    perl(house, Kind::Maildir);
}

fn perls_mail_imapclient_works_in_a_mailbox_on_cyrus(house: &House) {
    perl(house, Kind::Cyrus);
}

const NODE: &str = r#"
const { ImapFlow } = require("imapflow");
const fs = require("fs");
const assert = require("assert");
const [way, port, ca, user, pass, file] = process.argv.slice(1);
const client = (password) => new ImapFlow({
    host: "localhost", port: Number(port), secure: way === "tls", doSTARTTLS: way === "starttls" ? true : undefined,
    auth: { user, pass: password }, tls: { ca: fs.readFileSync(ca) }, logger: false,
});
async function main() {
    const refused = client("wrong");
    await assert.rejects(refused.connect(), (error) => error.authenticationFailed === true);
    // It keeps the socket, and the program would not end.
    refused.close();
    const connection = client(pass);
    await connection.connect();
    const folder = "Node-" + way;
    await connection.mailboxCreate(folder);
    const names = (await connection.list()).map((entry) => entry.path);
    assert(names.includes(folder), names);
    const message = fs.readFileSync(file);
    await connection.append(folder, message, ["\\Seen"]);
    const lock = await connection.getMailboxLock(folder);
    try {
        assert.strictEqual(connection.mailbox.exists, 1);
        const fetched = await connection.fetchOne("1", { source: true, flags: true });
        assert(fetched.source.equals(message), fetched.source.toString());
        assert(fetched.flags.has("\\Seen"));
        assert(await connection.messageFlagsAdd("1", ["\\Flagged"]));
        assert((await connection.fetchOne("1", { flags: true })).flags.has("\\Flagged"));
        const other = client(pass);
        await other.connect();
        const told = new Promise((resolve) => connection.once("exists", resolve));
        const idling = connection.idle();
        await other.append(folder, message);
        await other.logout();
        // Cyrus looks once a minute here; so it is asked, which ends IDLE.
        await connection.noop();
        await idling;
        assert.strictEqual((await told).count, 2);
        assert(await connection.messageDelete("1:*"));
    } finally {
        lock.release();
    }
    await connection.mailboxClose();
    await connection.mailboxDelete(folder);
    await connection.logout();
    console.log("done");
}
main().catch((error) => { console.error(error); process.exit(1); });
"#;

fn node(house: &House, kind: Kind) {
    session(house, kind, &|| {
        let mut command = node_with_imapflow().unwrap();
        command.args(["-e", NODE, "--"]);
        command
    });
}

fn nodes_imapflow_works_in_a_mailbox_on_dovecot(house: &House) {
    node(house, Kind::Maildir);
}

fn nodes_imapflow_works_in_a_mailbox_on_cyrus(house: &House) {
    node(house, Kind::Cyrus);
}
