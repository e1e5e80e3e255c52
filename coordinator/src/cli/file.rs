//! `metafleet file …`

mod artifact;
mod list;
mod show;

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use broker_config::Cid;
use clap::{Args, Subcommand};

use super::App;
use super::exit::{Exit, Failure};
use crate::store::Store;

#[derive(Debug, Subcommand)]
pub(crate) enum FileCommand {
    /// List known paths
    List(ListArgs),
    /// Show one file: its paths and what each plugin made of it
    Show(OneFile),
    /// Print something that a plugin made of a file, e.g. a picture; its metadata says what there is
    Artifact(artifact::ArtifactArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only what is below this folder
    #[arg(value_name = "DIR")]
    under: Option<PathBuf>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct OneFile {
    /// Its path, or its content id
    #[arg(value_name = "CID|PATH")]
    file: OsString,
}

pub(crate) async fn run(app: &App, command: FileCommand) -> Result<Exit, Failure> {
    match command {
        FileCommand::List(args) => list::run(app, &args).await,
        FileCommand::Show(args) => show::run(app, &args).await,
        FileCommand::Artifact(args) => artifact::run(app, &args).await,
    }
}

impl OneFile {
    /// The content id of a file that must be known.
    pub(crate) async fn cid(&self, store: &Store) -> Result<Cid, Failure> {
        store.find(&self.file).await?.ok_or_else(|| {
            let file = self.shown();
            let failure = Failure::not_found(format!("no file `{file}` is known"));
            if Path::new(&self.file).exists() {
                failure.advise(format!("hand it in with `metafleet scan {file}`"))
            } else {
                failure.advise("`metafleet file list` shows all that are known")
            }
        })
    }

    /// What was typed, for messages; a name that is not UTF-8 only nearly.
    pub(crate) fn shown(&self) -> Cow<'_, str> {
        self.file.to_string_lossy()
    }
}
