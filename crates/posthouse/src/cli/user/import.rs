//! `posthouse user import`.

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use admin::{ImportRequest, Imported};
use clap::{Args, ValueEnum};
use directory::ImportFormat;
use futures_util::Stream;

use crate::{
    cli::{Failure, failure::say, output::Output, reach::on_users},
    config::Config,
};

/// What is sent at a time, in bytes.
const PIECE: usize = 64 * 1024;

/// Mistaken lines that are shown; `--json` has more.
const SHOWN_MISTAKES: usize = 20;

#[derive(Args, Debug)]
pub(in crate::cli) struct Import {
    /// The file, or - for standard input.
    file: PathBuf,
    /// How the file is written.
    #[arg(long)]
    format: Format,
    /// Leave out lines that are wrong; else one wrong line refuses all.
    #[arg(long)]
    skip_wrong: bool,
    /// The mail has been brought there. Without this, a line that would have an existing mailbox looked for
    /// elsewhere is wrong.
    #[arg(long)]
    mail_is_already_there: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Csv,
    Mysql,
    PasswdFile,
    Perdition,
}

impl Format {
    fn word(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Mysql => "mysql",
            Self::PasswdFile => "passwd-file",
            Self::Perdition => "perdition",
        }
    }
}

pub(super) fn import(config: &Config, arguments: &Import, output: Output) -> Result<(), Failure> {
    let input = Input::open(&arguments.file)?;
    // Whoever acts takes it; a daemon that is not there has taken nothing.
    let input = Cell::new(Some(input));
    let take = || input.take().unwrap_or_else(Input::taken);
    let Import { format, skip_wrong, mail_is_already_there, .. } = *arguments;
    let path = format!(
        "/import/users?format={}&skip_wrong={skip_wrong}&mail_is_already_there={mail_is_already_there}",
        format.word()
    );
    let imported = on_users(
        config,
        async |daemon| daemon.send::<Imported, _>(&path, || take().pieces()).await,
        |users, actor| {
            let format = match format {
                Format::Csv => ImportFormat::Csv,
                Format::Mysql => ImportFormat::Mysql,
                Format::PasswdFile => ImportFormat::PasswdFile,
                Format::Perdition => ImportFormat::Perdition,
            };
            let request = ImportRequest { format, skip_wrong, mail_is_already_there };
            admin::user_import(users, actor, request, &mut BufReader::new(take()), &mut |_| {})
        },
    )?;
    if !output.is_json() {
        tell_mistakes(&imported);
    }
    output.print(&imported, summary)?;
    if imported.written {
        return Ok(());
    }
    Err(Failure::new(format!(
        "nothing was imported: {} of {} lines are wrong; mend them, or leave them out with --skip-wrong",
        imported.problem_count, imported.lines,
    )))
}

fn summary(imported: &Imported) -> String {
    let Imported { lines, added, changed, unchanged, problem_count, written, .. } = imported;
    if !written {
        return String::new();
    }
    format!(
        "{lines} lines: {added} users added, {changed} changed, {unchanged} unchanged, \
         {problem_count} lines wrong\n"
    )
}

fn tell_mistakes(imported: &Imported) {
    for mistake in imported.problems.iter().take(SHOWN_MISTAKES) {
        say(&format!("line {}: {}\n", mistake.line, mistake.what));
    }
    let shown = u64::try_from(SHOWN_MISTAKES).unwrap_or(u64::MAX);
    if imported.problem_count > shown {
        say(&format!("and {} more\n", imported.problem_count - shown));
    }
}

/// The text to import. On a screen it shows how far it has been read.
struct Input {
    source: Box<dyn Read + Send>,
    /// Its length, where it is a file.
    length: Option<u64>,
    read: u64,
    shown: Option<Instant>,
}

impl Input {
    /// How often progress is shown.
    const EVERY: Duration = Duration::from_millis(500);

    fn open(path: &Path) -> Result<Self, Failure> {
        let shown = io::stderr().is_terminal().then(Instant::now);
        if path == Path::new("-") {
            return Ok(Self { source: Box::new(io::stdin()), length: None, read: 0, shown });
        }
        let failed = |error: io::Error| Failure::new(format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(failed)?;
        let data = file.metadata().map_err(failed)?;
        if data.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let length = data.is_file().then_some(data.len());
        Ok(Self { source: Box::new(file), length, read: 0, shown })
    }

    /// What cannot be read a second time; it must not look like an empty text.
    fn taken() -> Self {
        Self { source: Box::new(Taken), length: None, read: 0, shown: None }
    }

    /// The text piece by piece.
    fn pieces(self) -> impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static {
        futures_util::stream::try_unfold(
            BufReader::with_capacity(PIECE, self),
            async |mut input| {
                // Blocks: nothing else runs in this program.
                let piece = input.fill_buf()?.to_vec();
                input.consume(piece.len());
                Ok((!piece.is_empty()).then_some((piece, input)))
            },
        )
    }

    fn show(&mut self) {
        let Some(shown) = self.shown.filter(|shown| shown.elapsed() >= Self::EVERY) else { return };
        self.shown = shown.checked_add(shown.elapsed());
        let so_far = match self.length.filter(|length| *length > 0) {
            Some(length) => format!("{} %", self.read.saturating_mul(100) / length),
            None => format!("{} bytes", self.read),
        };
        say(&format!("\rreading: {so_far} "));
    }
}

struct Taken;

impl Read for Taken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("it was read already"))
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.read = self.read.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        self.show();
        Ok(count)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // What comes next begins on a line of its own.
        if self.shown.is_some() && self.read > 0 {
            say("\r\x1b[K");
        }
    }
}
