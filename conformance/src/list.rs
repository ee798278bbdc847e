//! The list of all cases, from which come the tests of each server, and the table by which a test finds its case.

/// Hands the list, by theme, to a macro, with what else that is to get.
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
                takes_fields_in_any_case,
                takes_connection_as_a_list,
                takes_white_space_around_values,
                declines_extensions_and_subprotocols,
                selects_a_subprotocol,
                takes_a_long_head,
                takes_a_frame_with_the_request,
                takes_a_large_frame_with_the_request,
                takes_everything_with_the_request,
                takes_a_burst,
                takes_a_request_octet_by_octet,
                gets_along_with_tungstenite;
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
                fields_that_contradict,
                lines_with_two_readings,
                targets,
                methods_and_versions,
                heads_of_each_length,
                upgrades_in_other_words,
                pages_with_content,
                pages_with_endless_content;
            origins:
                any_by_default,
                those_allowed,
                pages_of_applications,
                others,
                from_the_environment;
            endpoints:
                health_is_well,
                metrics_are_well_formed,
                other_paths_are_not_found,
                head_has_no_content,
                requests_in_pieces_or_too_many,
                clients_that_hang_up;
            echo:
                text_of_each_length,
                binary_of_each_length,
                many_lengths_in_a_row,
                sixteen_mebibytes,
                many_connections,
                after_a_half_close;
            delivery:
                frames_octet_by_octet,
                header_in_two_pieces,
                frame_and_a_part_of_the_next,
                two_frames_in_a_segment,
                forty_frames_in_a_segment,
                stream_cut_at_odd_places,
                message_written_before_anything_is_read,
                messages_written_before_anything_is_read,
                everyday_messages_are_one_frame;
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
                body_of_one_octet,
                body_of_126_octets,
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
                somewhere_in_a_long_message,
                character_cut_across_fragments,
                character_left_incomplete,
                character_cut_across_segments,
                what_is_allowed;
            size:
                at_the_limit,
                one_octet_over,
                over_by_fragments,
                declared_only,
                absurd_lengths,
                declared_is_not_allocated,
                large_messages_leave_nothing_behind;
            fairness:
                reader_that_stops_reading_large_echoes,
                reader_that_stops_reading_small_echoes,
                reader_that_stops_reading_pongs,
                peers_that_stop_in_the_middle,
                peer_that_floods,
                peer_with_a_large_message,
                reset_in_the_middle,
                stuck_peers_use_no_processor;
            admin:
                loopback_by_default,
                other_methods,
                requests_in_a_row,
                content_is_not_read,
                idle_connections_lock_nobody_out,
                many_at_once,
                healthcheck;
            live:
                page,
                heads_and_other_methods,
                events_agree_with_metrics,
                echoes_are_timed,
                viewers_and_scrapes_leave_each_other_room,
                nothing_happens_when_nobody_looks,
                drain_is_told;
            admission:
                full_server_answers_503,
                the_503_is_a_whole_answer,
                admits_again_after_a_close,
                limit_holds_over_all_shards,
                what_is_announced_can_be_had,
                out_of_descriptors,
                out_of_descriptors_for_silent_peers,
                plain_requests_free_their_room;
            metrics:
                all_are_there,
                both_addresses_tell_the_same,
                messages_and_bytes,
                reasons_of_closing,
                refused_handshakes,
                process_figures;
            timeouts:
                handshake_not_finished,
                handshake_that_trickles,
                silent_peers_are_closed,
                talking_peers_stay,
                a_server_that_stood_still,
                a_server_that_stood_still_in_handshakes,
                slow_readers_stay,
                readers_that_take_nothing_are_closed,
                slow_senders_stay,
                silence_is_allowed_by_default,
                pings_keep_a_peer,
                pings_come_every_interval,
                pings_among_echoes;
            budget:
                message_over_the_budget,
                shared_by_all,
                echoes_that_nobody_reads;
            drain:
                sigterm_without_peers,
                sigint_without_peers,
                idle_peers,
                busy_peers,
                peer_in_the_middle_of_a_frame,
                nothing_new_while_draining,
                peers_that_just_go,
                unfinished_handshakes_do_not_hold_it_up,
                drain_timeout_bounds_the_wait,
                second_signal_ends_at_once,
                with_more_connections_than_one_table_holds;
            surroundings:
                log_that_cannot_be_written,
                log_reader_that_is_stuck,
                output_that_cannot_be_written,
                statuses_hold,
                two_servers_at_once,
                hangup,
                empty_variables;
            shards:
                one_shard,
                four_shards,
                more_connections_than_one_table_holds;
            flags:
                bad_values,
                bad_environment,
                port_in_use,
                port_in_use_by_another_server,
                address_not_local,
                port_is_free_again,
                help_and_version,
                environment,
                all_at_once,
                times_at_the_edges,
                pinned_shards,
                line_at_start;
            leaks:
                connections,
                refused_connections,
                memory_of_a_storm,
                caches;
        }
    };
}

/// Hands the list of the second suite over in the same way.
#[doc(hidden)]
#[macro_export]
macro_rules! __resilience_cases {
    ($then:path $(, $($with:tt)+)?) => {
        $then! {
            $($($with)+ =>)?
            exhaustion:
                accept_fails,
                accept_fails_now_and_then,
                connections_that_cannot_be_watched,
                calls_that_are_interrupted,
                descriptors_taken_away,
                no_threads_left,
                threads_of_an_outer_group,
                no_memory_left;
            faults:
                peers_that_vanish,
                drain_in_full_echo,
                lossy_link,
                peers_behind_a_dead_link;
            soak:
                mixed_load;
            stuck:
                peers,
                small_budget,
                messages;
            storms:
                connects,
                bursts;
        }
    };
}

/// A test for each case of a list, which `$run` runs.
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

/// Finds a case of a list by its name. A case that is not in it is dead code, and the compiler says so.
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
