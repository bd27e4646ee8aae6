//! On which processors the stories about the kernel are told: AMD's in QEMU, Intel's in Bochs. One table for both, with the same
//! expectations; a story that is told on one of them only says why.
//!
//! What is about the network is not in it: Bochs has no network card that a system could use.

use crate::harness::Place;

/// Makes tests of stories: `processors::FILE::STORY::amd` and `...::intel`.
macro_rules! stories {
    ($($file:ident { $($story:ident: $on:ident $(($why:literal))?,)+ })+) => {
        $(mod $file {
            $(mod $story {
                stories!(@ $file $story $on $($why)?);
            })+
        })+
    };
    (@ $file:ident $story:ident both) => {
        stories!(@ $file $story amd "");
        #[test]
        fn intel() {
            crate::$file::$story(super::super::Place::IntelMachine);
        }
    };
    (@ $file:ident $story:ident amd $why:literal) => {
        #[test]
        fn amd() {
            crate::$file::$story(super::super::Place::Machine);
        }
    };
}

stories! {
    hello {
        hello_prints_its_lines_and_the_system_powers_off: both,
        a_unikernel_boots_without_a_description: both,
        the_terminal_shows_every_line_with_the_name_of_its_subject: amd("it is about the terminal"),
    }
    events {
        a_timed_event_never_wakes_its_subject_too_early: both,
        a_timed_event_fires_beside_a_subject_that_never_sleeps: both,
        an_event_can_inject_an_interrupt_into_another_subject: both,
        an_event_can_start_another_subject_anew: both,
    }
    restarts {
        a_subject_that_faults_ten_times_finds_its_memory_pristine_each_time: both,
        a_subject_that_is_never_restarted_stays_stopped: both,
        a_subject_that_is_always_restarted_starts_anew_after_success_too: both,
    }
    sharing {
        a_spinning_subject_does_not_keep_its_neighbour_from_running: amd("two boots for what the next one shows too"),
        a_subject_that_never_needs_the_kernel_is_pre_empted_from_its_first_run_on: both,
        every_register_survives_an_exit_storm_beside_neighbours_with_other_values: amd("9000 rounds; intel.rs has it with 300"),
        a_handover_passes_the_cpu_within_a_group: both,
        partitions_keep_to_their_own_minor_frames: both,
    }
    containment {
        every_forbidden_attempt_is_contained_and_reported_and_the_neighbour_goes_on: both,
        exceptions_that_go_to_the_kernel_are_contained_the_same_way: amd("six boots for what the plan alone decides"),
        what_may_be_tried_has_no_effect_on_anybody: both,
        the_reader_of_a_channel_cannot_write_it: both,
    }
    nested {
        nested_tables_stop_what_opened_guest_tables_let_through: both,
    }
    cpus {
        the_example_for_two_cpus_prints_its_lines_and_the_system_powers_off: both,
        balls_go_from_cpu_to_cpu_and_back_and_none_is_lost_or_doubled: both,
        balls_that_arrive_as_interrupts_are_neither_lost_nor_doubled: both,
        the_supervisor_restarts_a_subject_on_another_cpu: both,
        power_off_works_from_any_cpu: both,
    }
    crash {
        the_boot_after_a_crash_reports_it: amd("a reset in Bochs goes through GRUB, which uses the record's memory"),
        a_subject_stops_the_machine_only_with_the_right_to: amd("six boots that differ in the plan alone"),
        the_kernel_says_at_the_end_what_it_counted: both,
    }
    ends {
        the_first_status_that_is_not_0_becomes_the_exit_status: both,
        a_status_that_does_not_fit_has_an_exit_status_of_its_own: amd("it is about the command"),
        a_system_that_does_not_end_is_ended_when_time_runs_out: amd("it is about the command"),
        the_exit_device_powers_off_too: amd("the device is QEMU's"),
        a_reset_boots_the_system_again: both,
        a_machine_without_its_vendor_s_extension_is_refused_by_the_kernel: both,
    }
    legacy {
        unmodified_unikernels_of_every_abi_version_run: both,
        an_unmodified_unikernel_that_polls_does_not_use_up_the_cpu: both,
        network_elements_reach_an_unmodified_reader_in_order: both,
        an_overrun_ends_an_unmodified_readers_network_and_nothing_else: amd("in Bochs nobody writes a burst in one turn"),
        an_unmodified_unikernel_reports_its_own_trap: both,
    }
}
