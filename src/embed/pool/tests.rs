use std::sync::{
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use super::*;

fn settings() -> PoolSettings {
    PoolSettings {
        workers: 1,
        queue: 1,
        deadline: Duration::from_secs(60),
        breaker: BreakerSettings { failures: 2, rest: Duration::from_secs(60) },
    }
}

/// A pool of one worker that says which job it began, then waits for a word before it gives the job back.
struct Gated {
    pool: Pool<u32, u32>,
    began: tokio::sync::mpsc::UnboundedReceiver<u32>,
    go: mpsc::Sender<()>,
}

fn gated(settings: PoolSettings) -> Gated {
    let (report, began) = tokio::sync::mpsc::unbounded_channel();
    let (go, wait) = mpsc::channel();
    let wait = Arc::new(Mutex::new(wait));
    let pool = Pool::start("gated", settings, move || {
        let (report, wait) = (report.clone(), Arc::clone(&wait));
        move |input| {
            report.send(input)?;
            wait.lock().unwrap().recv()?;
            Ok(input)
        }
    });
    Gated { pool: pool.unwrap(), began, go }
}

#[derive(Debug, thiserror::Error)]
#[error("no")]
struct No;

#[tokio::test]
async fn answers_come_back_to_their_callers() {
    let pool =
        Pool::start("double", PoolSettings { workers: 3, queue: 64, ..settings() }, || |n: u32| Ok(n * 2)).unwrap();
    let answers = futures_util::future::join_all((0..50).map(|n| pool.call(n))).await;
    let answers: Vec<u32> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, (0..50).map(|n| n * 2).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_opens_no_breaker() {
    let Gated { pool, mut began, go } = gated(settings());
    let (first, second, ()) = tokio::join!(
        pool.call(1),
        async {
            began.recv().await;
            pool.call(2).await
        },
        async {
            while pool.queue.waiting().jobs.is_empty() {
                tokio::task::yield_now().await;
            }
            for _ in 0..5 {
                assert!(matches!(pool.call(3).await, Err(PoolError::Busy)));
            }
            go.send(()).unwrap();
            go.send(()).unwrap();
        }
    );
    assert_eq!((first.unwrap(), second.unwrap()), (1, 2));
    assert!(!pool.is_resting());
}

#[tokio::test]
async fn a_job_whose_caller_left_is_skipped_and_frees_its_place() {
    let Gated { pool, mut began, go } = gated(settings());
    let first = async {
        let first = pool.call(1);
        tokio::pin!(first);
        let gone = pool.call(2);
        tokio::select! { biased; _ = &mut first => unreachable!(), Some(1) = began.recv() => {} }
        // The only place is taken by a caller that leaves, and then free again.
        assert!(futures_util::poll!(Box::pin(gone)).is_pending());
        let third = pool.call(3);
        tokio::pin!(third);
        assert!(futures_util::poll!(&mut third).is_pending());
        go.send(()).unwrap();
        go.send(()).unwrap();
        assert_eq!((first.await.unwrap(), third.await.unwrap()), (1, 3));
    };
    first.await;
    assert_eq!(began.recv().await, Some(3), "the job begun after the first");
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_a_timeout_and_counts_against_the_breaker() {
    let Gated { pool, began: _began, go: _go } = gated(settings());
    assert!(matches!(pool.call(1).await, Err(PoolError::Timeout)));
    assert!(!pool.is_resting());
    assert!(matches!(pool.call(2).await, Err(PoolError::Timeout)));
    assert!(matches!(pool.call(3).await, Err(PoolError::BreakerOpen)));
}

#[tokio::test]
async fn failures_in_a_row_open_the_breaker() {
    let pool: Pool<(), ()> = Pool::start("failing", settings(), || |()| Err(No.into())).unwrap();
    for _ in 0..2 {
        assert!(matches!(pool.call(()).await, Err(PoolError::Failed(fault)) if fault.is::<No>()));
    }
    assert!(matches!(pool.call(()).await, Err(PoolError::BreakerOpen)));
    assert!(pool.is_resting());
}

#[tokio::test]
async fn a_panic_costs_one_job_and_the_worker_starts_afresh() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let pool = Pool::start("panicking", settings(), move || {
        count.fetch_add(1, Ordering::SeqCst);
        |fine: bool| if fine { Ok(()) } else { panic!("asked to") }
    })
    .unwrap();
    assert!(matches!(pool.call(false).await, Err(PoolError::Failed(fault)) if fault.is::<Panicked>()));
    pool.call(true).await.unwrap();
    assert_eq!(made.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn dropping_the_pool_does_not_wait_for_a_run_but_ends_its_thread() {
    let Gated { pool, mut began, go } = gated(settings());
    {
        let call = pool.call(1);
        tokio::pin!(call);
        tokio::select! { biased; _ = &mut call => unreachable!(), Some(1) = began.recv() => {} }
    }
    // The worker waits for a word that only comes after the drop: a drop that joins would never return.
    drop(pool);
    go.send(()).unwrap();
    assert_eq!(began.recv().await, None, "the worker is gone, and its sender with it");
}

#[tokio::test]
async fn a_pool_dropped_under_its_callers_says_closed() {
    let queue: Queue<(), ()> = Queue::new(1);
    let (answer, answered) = oneshot::channel();
    assert!(queue.push(Job { input: (), answer }).is_ok());
    queue.close();
    assert!(answered.await.is_err());
    assert!(queue.pop().is_none());
}
