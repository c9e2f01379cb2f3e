//! Steps 4 to 7: the freeze, the offer, and whose the arena is when something goes wrong.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::{Predecessor, State};
use crate::clock::Clock;
use crate::death::Cause;
use crate::error::{HandoffError, OwnerError, Phase};
use crate::failpoint::here;
use crate::fence::{Fenced, OtherProcess, holder, wait_dead};
use crate::host::{Failure, MAX_PAYLOAD_BYTES, PredecessorHost, Quiesced, Recovery, Status, Wake};
use crate::link::{Link, Readiness};
use crate::message::{Message, Offer, Serving};
use crate::owner::{Generation, Owner, OwnerWord};
use crate::prompt::{ShortSlices, bring_here};
use crate::reason::{host_failed, last_word, violation};

/// How long one call waits for the kernel to confirm a death, which takes it 0.1 ms.
const FENCE_SLICE: Duration = Duration::from_millis(10);

/// For room in the link for SERVING.
const SERVING_PATIENCE: Duration = Duration::from_secs(1);

/// Waits a moment for the proof that the executor of a killed generation is gone.
pub(crate) fn wait_for_death(
    process: &dyn OtherProcess,
    word: &AtomicU32,
    generation: Generation,
) -> Option<Fenced> {
    if let Err(error) = wait_dead(word, FENCE_SLICE) {
        tracing::error!(%error, "cannot wait for the executor of generation {generation}");
    }
    Fenced::observe(word, generation).or_else(|| Fenced::by_exit(process, word, generation))
}

/// Kills the process at the other end.
pub(crate) fn kill(process: &dyn OtherProcess) {
    if let Err(error) = process.kill() {
        tracing::error!(pid = process.pid(), %error, "the other generation cannot be killed");
    }
}

/// The first tick after a take has ended: measures the freeze and says SERVING.
pub(crate) fn say_serving(
    link: &Link,
    clock: &dyn Clock,
    generation: Generation,
    freeze_began_ns: u64,
    connections: u32,
) -> Result<Duration, HandoffError> {
    let freeze_ns = clock.now_ns().saturating_sub(freeze_began_ns);
    let serving = Serving { generation: generation.get(), freeze_ns, connections };
    let message = Message::Serving(serving);
    let failed = |source| HandoffError::Link { phase: Phase::Serve, source };
    match link.send(&message, &[]) {
        Err(error) if error.would_block() => {
            link.wait(Readiness::Writable, SERVING_PATIENCE).map_err(failed)?;
            link.send(&message, &[]).map_err(failed)?;
        }
        sent => sent.map_err(failed)?,
    }
    Ok(Duration::from_nanos(freeze_ns))
}

impl Predecessor {
    /// Whether the successor is ready and the rest is little enough to be sent while nobody is
    /// served.
    pub(super) fn wants_freeze(&self) -> bool {
        let news = self.window.items() + self.ledger.closed_len() + self.ledger.fresh_len();
        matches!(self.state, State::Prepare { ready: Some(_) }) && news <= self.limits.freeze_news
    }

    /// Step 4: stops the server, sends the rest and offers the arena. To be called between two
    /// commands, after [`Status::WantFreeze`].
    pub fn freeze(&mut self, host: &mut dyn PredecessorHost) -> Status {
        match self.freeze_and_offer(host) {
            Ok(()) => Status::Frozen,
            Err(reason) => self.abort(host, reason),
        }
    }

    fn freeze_and_offer(&mut self, host: &mut dyn PredecessorHost) -> Result<(), HandoffError> {
        // It has a short slice, too: it would run in between.
        let _slices = ShortSlices::ask();
        bring_here(self.check_successor_lock(host)?);
        let quiesced = host.quiesce().map_err(|error| host_failed(Phase::Freeze, &error))?;
        check_payload(&quiesced)?;
        here("predecessor.freeze", &self.link);
        self.send_last_news(host)?;
        self.offer(host)?;
        here("predecessor.offer", &self.link);
        self.say_offer(quiesced)?;
        here("predecessor.offered", &self.link);
        Ok(())
    }

    /// Without its lock in the word, the successor could not be fenced; and the lock proves that
    /// no earlier process of the same generation is left that could take in its place.
    ///
    /// Returns the thread that holds it.
    fn check_successor_lock(&self, host: &dyn PredecessorHost) -> Result<u32, HandoffError> {
        let State::Prepare { ready: Some(ready) } = &self.state else {
            let reason = "freeze was called before the successor was ready".into();
            return Err(HandoffError::Host { phase: self.phase(), reason });
        };
        let found = holder(host.executor_word(self.to));
        let tid = ready.executor_tid;
        if found == Some(tid) {
            return Ok(tid);
        }
        Err(violation(
            Phase::Freeze,
            format!("its executor is thread {tid}, but the lock is held by {found:?}"),
        ))
    }

    fn offer(&mut self, host: &dyn PredecessorHost) -> Result<(), HandoffError> {
        OwnerWord::new(host.owner_word()).offer(self.from, self.to)?;
        self.enter(State::Offered, self.limits.take);
        Ok(())
    }

    fn say_offer(&mut self, quiesced: Quiesced) -> Result<(), HandoffError> {
        let offer = Offer {
            from: self.from.get(),
            to: self.to.get(),
            last_command_ns: quiesced.last_command_ns,
            set: self.ledger.told(),
            payload: quiesced.payload,
        };
        self.send_now(&Message::Offer(offer), &[])
    }

    /// Takes the offer back. Returns `false` if the successor was faster; SERVING is waited for
    /// then.
    pub(super) fn withdraw(&mut self, host: &dyn PredecessorHost) -> Result<bool, HandoffError> {
        match OwnerWord::new(host.owner_word()).withdraw(self.from, self.to) {
            Ok(()) => Ok(true),
            Err(OwnerError::Changed { found: Owner::Serving(owner), .. }) if owner == self.to => {
                self.enter(State::Taken, self.limits.serving);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// SERVING counts only if the word says the same.
    pub(super) fn confirm_taken(
        &mut self,
        host: &dyn PredecessorHost,
        serving: &Serving,
    ) -> Result<(), HandoffError> {
        let owner = OwnerWord::new(host.owner_word()).read()?;
        // It may have been told to go back already.
        let offered_back = Owner::Offered { from: self.to, to: self.from };
        let taken = [Owner::Serving(self.to), offered_back].contains(&owner);
        if taken && serving.generation == self.to.get() {
            return Ok(());
        }
        Err(violation(
            self.phase(),
            format!("it says that {} serves, the owner word says {owner}", serving.generation),
        ))
    }

    /// The one way out of a failed attempt. The owner word decides: what is still, or again, this
    /// generation's is resumed; what the successor has taken is fenced first; what belongs to
    /// anybody else is left alone.
    pub(super) fn abort(&mut self, host: &mut dyn PredecessorHost, reason: HandoffError) -> Status {
        let phase = self.phase();
        if self.telling {
            // Nothing was given, and nothing is to be had back.
            return self.fail(reason, phase, Recovery::Resume);
        }
        let offered = matches!(self.state, State::Offered | State::Taken);
        let owner = OwnerWord::new(host.owner_word());
        // If the withdrawal loses its race, the word has its final say.
        let _ = owner.withdraw(self.from, self.to);
        match owner.read() {
            Ok(Owner::Serving(owner)) if owner == self.from => {
                // Best effort: the end of the link says the same.
                let _ = self.link.send(&last_word(&reason), &[]);
                self.fail(reason, phase, Recovery::Resume)
            }
            // What was never offered was taken from a generation that is to be dead.
            Ok(Owner::Serving(owner)) if owner == self.to && offered => {
                self.cause = match reason {
                    HandoffError::Deadline { .. } => Cause::Hang,
                    _ => self.process.cause(),
                };
                self.enter(State::Fencing { reason, phase }, Duration::MAX);
                self.kill_successor();
                tracing::warn!(%phase, "the successor has the arena but does not serve: fencing it");
                self.continue_fence(host)
            }
            _ => self.fail(reason, phase, Recovery::Exit),
        }
    }

    /// Waits, a slice at a time, for the kernel to say that the successor's executor is gone, and
    /// takes the arena back. Until then nobody may touch it, however long it lasts.
    pub(super) fn continue_fence(&mut self, host: &mut dyn PredecessorHost) -> Status {
        let word = host.executor_word(self.to);
        let fenced = wait_for_death(&*self.process, word, self.to);
        let Some(fenced) = fenced else { return self.still_fencing() };
        let retaken = OwnerWord::new(host.owner_word()).retake_after_fence(&[&fenced], self.from);
        let recovery = match retaken {
            Ok(_) => Recovery::RecoverAndResume,
            Err(error) => {
                tracing::error!(%error, "the arena cannot be taken back");
                Recovery::Exit
            }
        };
        match std::mem::replace(&mut self.state, State::Over(recovery)) {
            State::Fencing { reason, phase } => self.fail(reason, phase, recovery),
            _ => super::over_already(recovery),
        }
    }

    fn still_fencing(&mut self) -> Status {
        self.kill_successor();
        self.wake = Wake::Now;
        Status::Frozen
    }

    fn kill_successor(&self) {
        kill(&*self.process);
    }

    fn fail(&mut self, reason: HandoffError, phase: Phase, recovery: Recovery) -> Status {
        self.finish(recovery);
        // Not before: a log that blocks would prolong the freeze.
        tracing::warn!(from = %self.from, to = %self.to, %phase, %reason, "handoff failed");
        Status::Failed(Failure { reason, recovery, phase })
    }
}

fn check_payload(quiesced: &Quiesced) -> Result<(), HandoffError> {
    let length = quiesced.payload.len();
    if length <= MAX_PAYLOAD_BYTES {
        return Ok(());
    }
    let reason = format!("the payload has {length} bytes, more than {MAX_PAYLOAD_BYTES}");
    Err(HandoffError::Host { phase: Phase::Freeze, reason })
}
