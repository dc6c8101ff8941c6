//! The parent's side of a served database: commands, answers, and a model of what it holds.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use anyhow::{Context, bail, ensure};

use super::program;
use super::serve::Setup;
use super::values::{Model, key_of, to_text};

/// How a command ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    Done,
    /// The kind of the error, and what it says.
    Refused(String, String),
}

impl End {
    /// True for an error of this kind.
    pub(super) fn is(&self, kind: &str) -> bool {
        matches!(self, End::Refused(found, _) if found == kind)
    }

    /// An error unless the command was done.
    pub(super) fn done(self, what: &str) -> anyhow::Result<()> {
        match self {
            End::Done => Ok(()),
            End::Refused(kind, message) => bail!("{what}: {kind}: {message}"),
        }
    }
}

/// A child that serves a database. Killed when dropped.
pub(super) struct Remote {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Remote {
    /// Starts a child; also tells how its open ended.
    pub(super) fn start(dir: &Path, setup: Setup, seed: u64) -> anyhow::Result<(Remote, End)> {
        Remote::spawn(program()?, dir, setup, seed)
    }

    /// As [`Remote::start`], by a command that runs this program.
    pub(super) fn spawn(
        mut program: Command,
        dir: &Path,
        setup: Setup,
        seed: u64,
    ) -> anyhow::Result<(Remote, End)> {
        let mut child = program
            .args(["disks", "--seed", &seed.to_string(), "--setup", &setup.to_string()])
            .arg("--serve")
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("start a child")?;
        let answers = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        let mut remote = Remote { child, answers };
        let (_, end) = remote.answers(&mut |_| true)?;
        Ok((remote, end))
    }

    /// Starts a child whose open must succeed.
    pub(super) fn open(dir: &Path, setup: Setup, seed: u64) -> anyhow::Result<Remote> {
        let (remote, end) = Remote::start(dir, setup, seed)?;
        end.done("open")?;
        Ok(remote)
    }

    /// Runs a command to its end; how many acknowledgements came before.
    pub(super) fn run(&mut self, command: &str) -> anyhow::Result<(u64, End)> {
        self.send(command)?;
        self.answers(&mut |_| true)
    }

    pub(super) fn send(&mut self, command: &str) -> anyhow::Result<()> {
        let input = self.child.stdin.as_mut().context("its input is a pipe")?;
        input.write_all(format!("{command}\n").as_bytes()).context("send a command")
    }

    /// Reads answers to the end of a command, or until `more` says no.
    fn answers(&mut self, more: &mut dyn FnMut(u64) -> bool) -> anyhow::Result<(u64, End)> {
        let (mut acknowledged, mut line) = (0, String::new());
        while more(acknowledged) {
            line.clear();
            if self.answers.read_line(&mut line).context("read an answer")? == 0 {
                let status = self.child.wait().context("wait for the child")?;
                bail!("the child ended by itself: {status}");
            }
            match line.trim_end().split_once(' ') {
                None if line == "a\n" => acknowledged += 1,
                None if line == "done\n" => return Ok((acknowledged, End::Done)),
                Some((kind, message)) => {
                    return Ok((acknowledged, End::Refused(kind.into(), message.into())));
                }
                None => bail!("the child says {line:?}"),
            }
        }
        Ok((acknowledged, End::Done))
    }

    /// Starts a command, kills the child after so many acknowledgements; how many there were.
    pub(super) fn run_and_kill(mut self, command: &str, after: u64) -> anyhow::Result<u64> {
        self.send(command)?;
        let (mut acknowledged, _) = self.answers(&mut |count| count < after)?;
        self.child.kill().context("kill the child")?;
        let mut line = String::new();
        // What is in the pipe was acknowledged before the kill.
        while self.answers.read_line(&mut line).context("read an answer")? > 0 {
            acknowledged += u64::from(line == "a\n");
            line.clear();
        }
        Ok(acknowledged)
    }

    /// Kills the child.
    pub(super) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().context("kill the child")?;
        self.child.wait().context("wait for the child")?;
        Ok(())
    }

    /// Sends a signal that a process may catch; how the child ended.
    pub(super) fn terminate(mut self) -> anyhow::Result<ExitStatus> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().context("run kill")?;
        ensure!(sent.success(), "kill: {sent}");
        self.child.wait().context("wait for the child")
    }

    pub(super) fn close(mut self) -> anyhow::Result<()> {
        self.run("close")?.1.done("close")?;
        let status = self.child.wait().context("wait for the child")?;
        ensure!(status.success(), "the child ended with {status}");
        Ok(())
    }

    /// Puts from `first` on; how many were acknowledged, which the model then has.
    pub(super) fn put(
        &mut self,
        model: &mut Model,
        first: u64,
        count: u64,
    ) -> anyhow::Result<(u64, End)> {
        let (done, end) = self.run(&format!("put {first} {count}"))?;
        for put in first..first + done {
            model.insert(key_of(put), put);
        }
        Ok((done, end))
    }

    /// Deletes the keys `first..first + count`, all of which must be acknowledged.
    pub(super) fn delete(
        &mut self,
        model: &mut Model,
        first: u64,
        count: u64,
    ) -> anyhow::Result<()> {
        let (done, end) = self.run(&format!("delete {first} {count}"))?;
        model.retain(|key, _| !(first..first + done).contains(key));
        end.done("delete")?;
        ensure!(done == count, "{done} of {count} deletes were acknowledged");
        Ok(())
    }

    /// How the comparison with a model ends.
    pub(super) fn verify(&mut self, model: &Model) -> anyhow::Result<End> {
        Ok(self.run(&format!("verify {}", to_text(model)))?.1)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
