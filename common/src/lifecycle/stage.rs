//! From the command line to the last connection: what happens around a stage's `serve`.

use crate::budget::Budget;
use crate::config::{self, Config};
use crate::heap::{self, TrimPolicy};
use crate::kernel::KernelShare;
use crate::live::Live;
use crate::metrics::{Metrics, Rejected, ShardMetrics};
use crate::pace::DrainPace;
use crate::readiness::Pressure;
use crate::shard::Shard;
use crate::shutdown::Shutdown;
use crate::threads::Bound;
use crate::{admin, cores, healthcheck, limits, listen, log, output, signals, table};
use anyhow::{Context, anyhow, bail};
use clap::Args;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::Instant;
use std::{io, thread};

/// Connections that may wait for the admin server to accept them.
const ADMIN_BACKLOG: i32 = 128;

/// A stage: a name and a way to serve a shard.
pub struct Stage<F> {
    /// Its package.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// How many connections the stage's own means hold, and what it is that bounds them.
    pub bound: fn(&F) -> Option<Bound>,
    /// Serves a shard, on the shard's own thread, until its drain is over.
    pub serve: fn(Shard<F>) -> io::Result<()>,
}

impl<F: Args + Send + Sync + 'static> Stage<F> {
    /// The program: parses the flags, serves, and drains on SIGTERM, SIGINT or SIGHUP. With `--healthcheck` it asks another one.
    ///
    /// Exit status: 0 after a drain, 1 after an error (one line on standard error), 2 for a bad flag.
    pub fn main(self) -> ExitCode {
        let (config, flags) = match config::parse::<F>(self.name, self.about) {
            Ok(parsed) => parsed,
            Err(status) => return status.into(),
        };
        let done = if config.healthcheck {
            let asked = healthcheck::ask(config.admin_addr);
            asked.map(|url| output::line(format_args!("{}: {url} is well", self.name)))
        } else {
            self.run(config, flags)
        };
        log::flush();
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                output::complain(format_args!("{}: {error:#}", self.name));
                ExitCode::FAILURE
            }
        }
    }

    fn run(&self, config: Config, flags: F) -> anyhow::Result<()> {
        let cached = heap::cache_nothing();
        // Before any thread is started, which would otherwise take the signals itself.
        let signals = signals::block();
        // Before any other descriptor is opened: a shard's table keeps what lies below, and this.
        let shutdown = Shutdown::new().context("cannot make an eventfd")?;
        let nofile = limits::raise_nofile().context("cannot raise the limit on descriptors")?;
        let plan = Plan::new(&config, nofile as usize, (self.bound)(&flags))?;
        heap::keep_little(plan.shards);
        log::start(config.log).context("cannot start the thread of the log")?;
        if let Err(error) = cached {
            tracing::debug!("each thread keeps some of what is freed: cannot begin again without: {error}");
        }
        let metrics = Arc::new(Metrics {
            stage: self.name,
            limit: plan.limit,
            shard_capacity: plan.capacity,
            pressure: Pressure::new(Instant::now()),
            admitted: AtomicUsize::new(0),
            budget: Budget::new(config.buffer_budget),
            kernel: KernelShare::at_start(),
            shards: (0..plan.shards).map(|_| ShardMetrics::default()).collect(),
        });
        let admin = listen::exclusive(config.admin_addr, ADMIN_BACKLOG)
            .map_err(|error| anyhow!(listen::explain("--admin-addr", config.admin_addr, &error)))?;
        let admin = TcpListener::from(admin);
        let admin_addr = admin.local_addr()?;
        let live = Live::new(metrics.clone(), shutdown.clone());

        let (drain_timeout, drain_rate) = (config.drain_timeout, config.drain_rate.get());
        let (done, ended) = mpsc::channel();
        let addr = self.start_shards(config, flags, &plan, &metrics, &shutdown, done)?;
        // Once the shards listen: /ready is 200 from its first answer on.
        admin::start(admin, live.clone()).context("cannot start the admin server")?;
        let to_drain = metrics.clone();
        let pace =
            move || DrainPace::new(Instant::now(), to_drain.active() as usize, drain_rate, drain_timeout);
        signals.on_first(shutdown, pace).context("cannot start the signal thread")?;
        live.ready();
        let (name, version) = (self.name, env!("CARGO_PKG_VERSION"));
        let (shards, limit) = (plan.shards, plan.limit);
        let plural = if shards == 1 { "" } else { "s" };
        output::line(format_args!(
            "{name} {version}: ws://{addr}/echo, admin http://{admin_addr}, {shards} shard{plural}, at most {limit} connections"
        ));
        plan.log();

        let mut trim_policy = TrimPolicy::default();
        for _ in 0..plan.shards {
            let end = heap::receive(&ended, &metrics, &mut trim_policy);
            end.map_err(|_| anyhow!("a shard has panicked"))?.context("a shard has failed")?;
        }
        match metrics.active() {
            0 => tracing::info!("drained"),
            left => {
                tracing::warn!("{left} connections were still open after --drain-timeout {drain_timeout:?}")
            }
        }
        Ok(())
    }

    /// Starts the shards one after the other, so that the first decides the port where any will do.
    fn start_shards(
        &self,
        mut config: Config,
        flags: F,
        plan: &Plan,
        metrics: &Arc<Metrics>,
        shutdown: &Shutdown,
        done: mpsc::Sender<io::Result<()>>,
    ) -> anyhow::Result<SocketAddr> {
        let flags = Arc::new(flags);
        for index in 0..plan.shards {
            let (bound, wait) = mpsc::channel();
            let (shared, flags, all) = (Arc::new(config.clone()), flags.clone(), metrics.clone());
            let (shutdown, done, serve) = (shutdown.clone(), done.clone(), self.serve);
            let limited_by = plan.limited_by;
            let crowded = crate::shard::is_crowded(plan.shards, plan.cores.len());
            let core = config.pin.then(|| plan.cores[index % plan.cores.len()]);
            let shard = move || -> io::Result<()> {
                let listener = table::unshare_table(std::os::fd::AsFd::as_fd(&shutdown))
                    .and_then(|()| core.map_or(Ok(()), cores::stay_on))
                    .and_then(|()| listen::listener(shared.addr, shared.backlog, core, index == 0));
                let listener = match listener {
                    Ok(listener) => listener,
                    Err(error) => return bound.send(Err(error)).map_err(io::Error::other),
                };
                all.shards[index].thread_id.store(rustix::thread::gettid().as_raw_pid() as u32, Relaxed);
                bound.send(listener.local_addr()).map_err(io::Error::other)?;
                serve(Shard { listener, config: shared, flags, shutdown, index, crowded, limited_by, all })
            };
            let name = format!("shard-{index}");
            thread::Builder::new().name(name).spawn(move || done.send(shard())).with_context(|| {
                format!("cannot start the thread of shard {index}; lower {}", plan.what_to_lower())
            })?;
            config.addr = wait
                .recv()
                .map_err(|_| anyhow!("shard {index} has panicked"))?
                .map_err(|error| anyhow!(listen::explain("--addr", config.addr, &error)))?;
        }
        Ok(config.addr)
    }
}

/// How many shards, and what each may hold.
#[derive(Debug)]
struct Plan {
    nofile: usize,
    cores: Vec<usize>,
    bound: Option<Bound>,
    shards: usize,
    /// Shards that the flags or the cores ask for: there are more where `--max-connections` needs them.
    least_shards: usize,
    capacity: usize,
    limit: usize,
    limited_by: Rejected,
}

impl Plan {
    fn new(config: &Config, nofile: usize, bound: Option<Bound>) -> anyhow::Result<Plan> {
        let capacity = limits::table_capacity(nofile);
        if capacity == 0 {
            bail!("a descriptor limit of {nofile} leaves none for connections; raise it (ulimit -n 1024)");
        }
        let asked = config.max_connections.map(NonZeroUsize::get);
        let needed = asked.map_or(1, |connections| limits::shards_needed(connections, capacity));
        if needed > config::MAX_SHARDS {
            bail!(
                "--max-connections {} needs {needed} shards under a descriptor limit of {nofile}, and {} is the most: \
                 raise the limit (ulimit -n), or lower --max-connections to {}",
                asked.unwrap_or_default(),
                config::MAX_SHARDS,
                limits::connections_held(config::MAX_SHARDS, capacity)
            );
        }
        let at_once = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let cores = cores::available().context("cannot tell which cores there are")?;
        // With --pin each core's connections are dealt out among the shards there, and no others.
        let even = if config.pin { cores.len() } else { 1 };
        let least_shards = config.shards.map_or(at_once, NonZeroUsize::get);
        if let Some(shards) = config.shards.filter(|shards| !shards.get().is_multiple_of(even)) {
            bail!(
                "--pin takes as many shards on each of {even} cores: --shards {shards} is no multiple of {even}"
            );
        }
        let shards = needed.max(least_shards).next_multiple_of(even);
        let limit = asked.unwrap_or(limits::connections_held(shards, capacity));
        let limited_by = Rejected::Full;
        let mut plan = Plan { nofile, cores, shards, least_shards, capacity, bound, limit, limited_by };
        if let Some(bound) = plan.bound.as_ref().filter(|bound| bound.connections < plan.limit) {
            plan.limit = bound.connections;
            plan.limited_by = Rejected::Threads;
        }
        Ok(plan)
    }

    /// The flag that the number of shards depends on.
    fn what_to_lower(&self) -> &'static str {
        if self.shards > self.least_shards { "--max-connections" } else { "--shards" }
    }

    fn log(&self) {
        let Plan { nofile, capacity, shards, least_shards, .. } = self;
        tracing::info!(
            "{nofile} descriptors a table, a table a shard: room for {capacity} connections in each"
        );
        if shards > least_shards {
            tracing::info!("{shards} shards instead of {least_shards}: --max-connections needs them");
        }
        if let Some(Bound { connections, because }) = &self.bound {
            tracing::info!("limit met first: {connections} connections, by {because}");
        }
    }
}
