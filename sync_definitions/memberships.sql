/* sync
description: Who works at which company; removed when they leave
owner: growth
tags: [shop, b2b]
entity: relationship
person: {id: customer_id}
object: {type: account, id: account_id}
on_removed: delete
limits: {removed: 10%}
schedule: every 30 minutes
*/
SELECT
    customer_id,
    account_id,
    role,
    joined_on
FROM memberships
WHERE left_on IS NULL
