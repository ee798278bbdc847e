//! The list of all cases. Macros expand it to the tests of each server, and to the table by which a test finds its
//! case.

/// Passes the list of the conformance suite, by theme, to the macro `$then`, after `$with` if given.
#[doc(hidden)]
#[macro_export]
macro_rules! __cases {
    ($then:path $(, $($with:tt)+)?) => {
        $then! {
            $($($with)+ =>)?
            handshake:
                accepts_on_echo,
                accepts_on_root,
                answers_any_key,
                accepts_fields_in_any_case,
                accepts_connection_as_a_list,
                accepts_white_space_around_values,
                declines_extensions_and_subprotocols,
                selects_a_subprotocol,
                accepts_a_long_head,
                accepts_a_frame_with_the_request,
                accepts_a_large_frame_with_the_request,
                accepts_everything_with_the_request,
                accepts_a_burst,
                accepts_a_request_byte_by_byte,
                interoperates_with_tungstenite;
            refusals:
                plain_get_of_echo,
                plain_get_of_root,
                no_upgrade_field,
                upgrade_to_something_else,
                no_connection_field,
                connection_without_upgrade,
                wrong_version,
                no_version,
                no_key,
                bad_key,
                no_host,
                http_1_0,
                malformed_requests,
                other_methods,
                post_with_content,
                unknown_path,
                head_too_long,
                endless_head;
            requests:
                framing,
                contradictory_fields,
                ambiguous_lines,
                targets,
                methods_and_versions,
                heads_of_each_length,
                equivalent_forms_of_upgrade,
                pages_with_content,
                pages_with_endless_content;
            origins:
                any_by_default,
                allowed,
                origins_of_applications,
                disallowed,
                from_the_environment;
            endpoints:
                health_is_ok,
                metrics_on_the_admin_address_only,
                metrics_are_well_formed,
                other_paths_are_not_found,
                head_has_no_content,
                requests_in_pieces_or_too_many,
                clients_that_disconnect;
            ready:
                while_accepting,
                while_full,
                while_out_of_descriptors,
                while_draining;
            echo:
                text_of_each_length,
                binary_of_each_length,
                many_lengths_in_a_row,
                sixteen_mebibytes,
                many_connections,
                after_a_half_close;
            delivery:
                frames_byte_by_byte,
                header_in_two_pieces,
                frame_and_a_part_of_the_next,
                two_frames_in_a_segment,
                forty_frames_in_a_segment,
                stream_cut_at_odd_places,
                message_written_before_anything_is_read,
                messages_written_before_anything_is_read,
                messages_up_to_64_kib_are_one_frame;
            fragments:
                two_fragments,
                ping_between,
                ping_between_in_a_segment,
                empty_fragments,
                many_fragments,
                fragmented_and_whole,
                fragments_of_two_peers;
            ping:
                pong_has_the_payload,
                long_ping_under_a_small_limit,
                unsolicited_pong_is_ignored,
                pings_among_messages,
                ten_pings_in_a_segment,
                pinged_within_a_message;
            close:
                without_a_body,
                valid_codes,
                with_a_reason,
                invalid_codes,
                body_of_one_byte,
                body_of_126_bytes,
                reason_that_is_not_utf8,
                what_follows_is_ignored,
                a_megabyte_that_follows_is_ignored,
                within_a_fragmented_message,
                reaches_a_peer_that_is_sending;
            violations:
                unmasked_frames,
                reserved_bits,
                reserved_opcodes,
                stray_continuation,
                continuation_after_the_last,
                message_within_a_message,
                fragmented_control_frames,
                long_control_frames,
                length_with_the_top_bit,
                other_connections_go_on;
            utf8:
                whole_message,
                last_fragment,
                anywhere_in_a_long_message,
                character_cut_across_fragments,
                incomplete_character,
                character_cut_across_segments,
                valid_text_and_any_binary;
            size:
                at_the_limit,
                one_byte_over,
                over_by_fragments,
                declared_only,
                absurd_lengths,
                declared_is_not_allocated,
                large_messages_are_freed;
            fairness:
                reader_that_stops_reading_large_echoes,
                reader_that_stops_reading_small_echoes,
                reader_that_stops_reading_pongs,
                peers_stalled_in_the_middle,
                peer_that_floods,
                peer_with_a_large_message,
                reset_in_the_middle,
                stalled_peers_use_no_cpu;
            admin:
                loopback_by_default,
                other_methods,
                requests_in_a_row,
                content_is_not_read,
                idle_connections_do_not_block_scrapes,
                many_at_once,
                healthcheck;
            live:
                page,
                heads_and_other_methods,
                events_agree_with_metrics,
                echoes_are_timed,
                viewers_and_scrapes_have_separate_limits,
                no_wakeups_without_viewers,
                viewers_see_the_drain;
            admission:
                full_server_answers_503,
                the_503_is_complete,
                admits_again_after_a_close,
                limit_holds_over_all_shards,
                announced_capacity_is_available,
                out_of_descriptors,
                out_of_descriptors_for_silent_peers,
                plain_requests_release_their_slot;
            metrics:
                all_are_present,
                both_addresses_agree,
                messages_and_bytes,
                echo_times,
                close_reasons,
                refused_handshakes,
                process_figures;
            timeouts:
                unfinished_handshake,
                slow_handshake,
                silent_peers_are_closed,
                active_peers_stay_connected,
                stopped_server_reads_before_it_times_out,
                stopped_server_reads_requests_before_it_times_out,
                slow_readers_stay_connected,
                stalled_readers_are_closed,
                slow_senders_stay_connected,
                silence_is_allowed_by_default,
                pongs_keep_a_connection_open,
                pings_come_every_interval,
                pings_among_echoes;
            budget:
                message_over_the_budget,
                shared_by_all_connections,
                unread_echoes;
            drain:
                sigterm_without_peers,
                sigint_without_peers,
                idle_peers,
                busy_peers,
                paced,
                faster_than_its_rate_if_it_must,
                serves_those_whose_time_has_not_come,
                peer_in_the_middle_of_a_frame,
                nothing_new_while_draining,
                peers_that_disconnect,
                unfinished_handshakes_do_not_delay_it,
                drain_timeout_bounds_the_wait,
                second_signal_ends_at_once,
                with_more_connections_than_one_table_holds;
            surroundings:
                unwritable_log,
                stalled_log_reader,
                unwritable_output,
                exit_status_does_not_depend_on_output,
                two_servers_at_once,
                hangup,
                empty_variables;
            shards:
                one_shard,
                four_shards,
                more_connections_than_one_table_holds,
                more_than_asked_for;
            flags:
                bad_values,
                bad_environment,
                port_in_use,
                port_in_use_by_another_server,
                address_not_local,
                port_is_free_again,
                help_and_version,
                defaults,
                impossible_capacity,
                environment,
                all_at_once,
                extreme_durations,
                pinned_shards,
                line_on_stdout;
            leaks:
                connections,
                refused_connections,
                memory_after_a_peak,
                allocator_caches;
        }
    };
}

/// Does the same with the list of the resilience suite.
#[doc(hidden)]
#[macro_export]
macro_rules! __resilience_cases {
    ($then:path $(, $($with:tt)+)?) => {
        $then! {
            $($($with)+ =>)?
            exhaustion:
                accept_fails,
                accept_fails_intermittently,
                epoll_ctl_fails,
                interrupted_calls,
                descriptor_limit_lowered,
                no_threads_left,
                pids_limit_of_an_outer_group,
                no_memory_left;
            faults:
                peers_that_vanish,
                drain_under_load,
                lossy_link,
                peers_behind_a_dead_link;
            soak:
                mixed_load;
            stalled:
                peers,
                small_budget,
                messages;
            storms:
                connects,
                bursts;
        }
    };
}

/// Defines a test for each case of a list, run by `$run`.
#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ($run:path, $binary:expr => $($theme:ident: $($case:ident),+;)+) => {
        $(
            mod $theme {
                $(
                    #[test]
                    fn $case() {
                        $run($binary, stringify!($theme), stringify!($case));
                    }
                )+
            }
        )+
    };
}

/// Defines a function that finds a case by its name. A case that is not listed is dead code, which the compiler
/// reports.
macro_rules! find {
    ($find:ident, $cases:ident => $($theme:ident: $($case:ident),+;)+) => {
        pub(crate) fn $find(theme: &str, case: &str) -> Option<fn(&crate::server::Binary)> {
            match (theme, case) {
                $($((stringify!($theme), stringify!($case)) => Some(crate::$cases::$theme::$case),)+)+
                _ => None,
            }
        }
    };
}

crate::__cases!(find, find, cases);
crate::__resilience_cases!(find, find_resilience, resilience);
