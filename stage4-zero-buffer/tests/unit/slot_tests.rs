use crate::slot::Slot;
use common::event_loop::Phase;
use std::fs::File;

#[test]
fn a_phase_fits_beside_the_other_marks() {
    let mut slot = Slot::new(File::open("/dev/null").unwrap().into(), 7);
    assert_eq!(slot.phase(), Phase::Handshake);
    for (phase, flag) in Phase::ALL.into_iter().flat_map(|phase| [(phase, true), (phase, false)]) {
        slot.enter(phase);
        slot.marks.set_queued(flag);
        slot.marks.expect_long(!flag);
        slot.marks.seen(9);
        let marks = (slot.marks.is_queued(), slot.marks.expects_long(), slot.marks.quiet_ticks(12));
        assert_eq!((slot.phase(), marks), (phase, (flag, !flag, 3)));
    }
}
