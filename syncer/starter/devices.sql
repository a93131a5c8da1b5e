/* sync
description: The phones on which customers get push messages; removed when they have not used the app for a year
owner: mobile
tags: [shop, push]
entity: device
person: {id: customer_id}
device: {token: push_token, platform: {column: os}, last_used: seen_at}
on_removed: delete
schedule: every 1 hour
*/
SELECT
    customer_id,
    push_token,
    os,
    seen_at,
    app_version
FROM devices
WHERE seen_at >= TIMESTAMP '2025-11-01 00:00:00'
